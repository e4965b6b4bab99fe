package main

import (
	"errors"
	"fmt"
	"io/fs"

	"permafrost/internal/dirstore"
	"permafrost/internal/hostfs"
	"permafrost/internal/localdir"
	"permafrost/internal/sftpstore"
	"permafrost/internal/sshconn"
)

// storageExamples has an error of each kind that the packages of a storage and of this machine's directories export.
func storageExamples() map[string]error {
	ssh := func(c sshconn.Cause, text string, facts ...string) error {
		return &sshconn.CauseError{Cause: c, Facts: facts, Err: errors.New(text)}
	}
	sftp := func(c sftpstore.Cause, text string) error {
		return &sftpstore.CauseError{Cause: c, Err: errors.New(text)}
	}
	const login = "logging in as backup@nas:22: ssh: unable to authenticate, attempted methods [none publickey], no supported methods remain"
	const key = "ssh-ed25519 SHA256:uNiVztksCsDhcc0u9e8BrCq"
	return map[string]error{
		"sftpstore.CauseError": nil,
		"sshconn.CauseError":   nil,

		"sftpstore.CauseUnknownHost": sftp(sftpstore.CauseUnknownHost, "connecting to nas:22: lookup nas: no such host"),
		"sftpstore.CauseNoContact":   sftp(sftpstore.CauseNoContact, "connecting to nas:22: no answer within 30s"),
		"sftpstore.CauseUnreachable": sftp(sftpstore.CauseUnreachable, "gave up after 2m0s and 9 attempts: connecting to nas:22: connection refused"),
		"sftpstore.CauseOverdue":     sftp(sftpstore.CauseOverdue, "the server answers and does not finish within 6h0m0s"),
		"sshconn.CauseJumpCommand":   ssh(sshconn.CauseJumpCommand, "ssh_config: the way through gate needs ProxyCommand"),

		"sshconn.CauseKnownHosts":     ssh(sshconn.CauseKnownHosts, "reading known_hosts: line 3: illegal base64 data at input byte 4"),
		"sshconn.CauseHostKeyUnknown": ssh(sshconn.CauseHostKeyUnknown, "the host key of nas is not known: "+key),
		"sshconn.CauseHostKeyUnclear": ssh(sshconn.CauseHostKeyUnclear, "the host key of nas may be known already, by a line that can't be read: /root/.ssh/known_hosts, line 3"),
		"sshconn.CauseHostKeyChanged": ssh(sshconn.CauseHostKeyChanged, "the host key of nas is not the one in /root/.ssh/known_hosts, line 3: it shows "+key, "/root/.ssh/known_hosts", "nas"),
		"sshconn.CauseHostKeyRefused": ssh(sshconn.CauseHostKeyRefused, "starting SFTP: ssh: Host key verification failed."),

		"sshconn.CauseNoKey":          ssh(sshconn.CauseNoKey, login),
		"sshconn.CauseKeyExposed":     ssh(sshconn.CauseKeyExposed, login, "/root/.ssh/id_ed25519"),
		"sshconn.CauseKeyEncrypted":   ssh(sshconn.CauseKeyEncrypted, login, "/root/.ssh/id_ed25519"),
		"sshconn.CauseKeyRefused":     ssh(sshconn.CauseKeyRefused, login, "SHA256:uNiVztksCsDhcc0u9e8BrCq"),
		"sshconn.CauseLoginRefused":   ssh(sshconn.CauseLoginRefused, "starting SFTP: ssh: backup@nas: Permission denied (publickey)."),
		"sshconn.CauseAccountUseless": ssh(sshconn.CauseAccountUseless, "starting SFTP: its SFTP server ended with status 127: the server closed the connection"),
		"sshconn.CauseNoSFTP":         ssh(sshconn.CauseNoSFTP, "starting SFTP: the server refuses the sftp subsystem"),
		"sftpstore.CauseNotSFTP":      sftp(sftpstore.CauseNotSFTP, `starting SFTP: the server speaks something else than SFTP: "Welcome!"`),

		"sshconn.CauseNoSSH":               ssh(sshconn.CauseNoSSH, "starting the ssh command: exec: ssh: executable file not found in $PATH"),
		"sshconn.CauseNoCommand":           ssh(sshconn.CauseNoCommand, "starting the ssh command: exec: myssh: executable file not found in $PATH"),
		"sshconn.CauseCommandArguments":    ssh(sshconn.CauseCommandArguments, `starting the ssh command: exec: "ssh -4": executable file not found in $PATH`),
		"sshconn.CauseCommandUntrusted":    ssh(sshconn.CauseCommandUntrusted, "root does not run the ssh command /home/ann/ssh: /home/ann belongs to ann"),
		"sshconn.CauseSSHConfig":           ssh(sshconn.CauseSSHConfig, "starting SFTP: ssh: /root/.ssh/config: line 2: Bad configuration option: hots"),
		"sshconn.CauseSettingsForeign":     ssh(sshconn.CauseSettingsForeign, "/root/.ssh/config belongs to another user", "/root/.ssh/config", "0"),
		"sshconn.CauseSettingsWritable":    ssh(sshconn.CauseSettingsWritable, "/root/.ssh/config can be written by other users", "/root/.ssh/config"),
		"sshconn.CauseSettingsReplaceable": ssh(sshconn.CauseSettingsReplaceable, "/srv/ssh/config: other users could have put it there: /srv/ssh belongs to ann", "/srv/ssh/config"),

		"sftpstore.CauseFalseReport": sftp(sftpstore.CauseFalseReport, "putting log/0000000007: the server reported success for 1000 bytes, and kept 500"),
		"sftpstore.CauseEndless":     sftp(sftpstore.CauseEndless, "listing packs/: the server does not come to an end of what packs/1f holds"),
		"sftpstore.CauseDenied":      sftp(sftpstore.CauseDenied, "putting packs/1f/1f40…: writing a file in /repo/tmp: permission denied"),
		"sftpstore.CauseNoRemoval":   sftp(sftpstore.CauseNoRemoval, "removing packs/1f/1f40…: permission denied"),
		"sftpstore.CauseUnexplained": sftp(sftpstore.CauseUnexplained, "putting packs/1f/1f40…: writing a file in /repo/tmp: sftp: \"Failure\" (SSH_FX_FAILURE)"),
		"sftpstore.CauseUnpublished": sftp(sftpstore.CauseUnpublished, "putting config: sftp: \"Failure\" (SSH_FX_FAILURE); trying the server's rename: permission denied"),
		"sftpstore.UnfitError":       &sftpstore.UnfitError{Why: []string{"it has no hard links", "its rename overwrites"}},

		"dirstore.NoLinksError": &dirstore.NoLinksError{Err: &fs.PathError{Op: "link", Path: "/mnt/usb/repo/config", Err: errors.New("operation not permitted")}},
		"localdir.SharedError":  &localdir.SharedError{Path: "/srv/cache", Err: &hostfs.SharedError{Trust: hostfs.Trust{Open: "/srv"}}},
		"localdir.LinkError":    &localdir.LinkError{Err: fmt.Errorf("opening /var/cache/permafrost/1f40: %w", errors.New("too many levels of symbolic links"))},
		"hostfs.SharedError":    nil,
		"hostfs.ErrUntrusted":   hostfs.ErrUntrusted,
		"hostfs.ErrNotRegular":  hostfs.ErrNotRegular,
		"hostfs.ErrTooLarge":    hostfs.ErrTooLarge,
	}
}

// storageHintless are those that have no hint by their kind, and why.
func storageHintless() map[string]string {
	return map[string]string{
		"sftpstore.CauseError": "its cause has one",
		"sshconn.CauseError":   "its cause has one",
		"hostfs.SharedError":   "who opens the directory says more",
		"hostfs.ErrUntrusted":  "who reads the file says more",
		"hostfs.ErrNotRegular": "who reads the file says more",
		"hostfs.ErrTooLarge":   "who reads the file says more",
	}
}
