package hints

import (
	"permafrost/internal/dirstore"
	"permafrost/internal/localdir"
	"permafrost/internal/sftpstore"
	"permafrost/internal/sshconn"
)

const unfitHint = "use OpenSSH's server, on a file system that has hard links"

// storageRules are the hints for what can go wrong with a storage, and with this machine's own directories.
func storageRules() []rule {
	ssh := func(c sshconn.Cause, hint string) rule {
		return as(func(e *sshconn.CauseError) string { return only(e.Cause == c, tell(hint, e.Facts)) })
	}
	sftp := func(c sftpstore.Cause, hint string) rule {
		return as(func(e *sftpstore.CauseError) string { return only(e.Cause == c, hint) })
	}
	return []rule{
		sftp(sftpstore.CauseUnknownHost, "check the host's name; it is looked up in ~/.ssh/config first"),
		sftp(sftpstore.CauseNoContact, "check that this is the server's SSH port, and that this host can reach it"),
		sftp(sftpstore.CauseUnreachable, "check that the server is up, and reachable from here; a new run goes on where this one stopped"),
		sftp(sftpstore.CauseOverdue, "look at the server and the network; a new run goes on where this one stopped"),
		ssh(sshconn.CauseJumpCommand, "connect by the ssh command: --ssh-command ssh"),

		ssh(sshconn.CauseKnownHosts, "correct or remove the line that the error names"),
		ssh(sshconn.CauseHostKeyUnknown, "compare this fingerprint with the server's own, then use --accept-new-host-key once"),
		ssh(sshconn.CauseHostKeyUnclear, "remove that line if it is not this host's, then use --accept-new-host-key again"),
		ssh(sshconn.CauseHostKeyChanged, "somebody may be listening in. Remove the old key if the server was set up anew: ssh-keygen -f {$1} -R {$2}"),
		ssh(sshconn.CauseHostKeyRefused, "compare the host key with the server's own, then use --accept-new-host-key once; remove a changed key from known_hosts first"),

		ssh(sshconn.CauseNoKey, "make a key with ssh-keygen, or name one as IdentityFile in ~/.ssh/config: there is none to log in with"),
		ssh(sshconn.CauseKeyExposed, "protect the key, which other users may read and which is not used therefore: chmod go= {$}"),
		ssh(sshconn.CauseKeyEncrypted, "give the key to the agent, since it has a passphrase: ssh-add {$}"),
		ssh(sshconn.CauseKeyRefused, "add one of these keys to the account's authorized_keys: {}"),
		ssh(sshconn.CauseLoginRefused, "use a key that needs no passphrase: give it to the agent (ssh-add), or name it as IdentityFile in ~/.ssh/config"),
		ssh(sshconn.CauseAccountUseless, "look on the server at the account, its key's forced command and its directory"),
		ssh(sshconn.CauseNoSFTP, "have SFTP enabled for this account"),
		sftp(sftpstore.CauseNotSFTP, "the account's login shell may print a text: it must print nothing when it is not interactive"),

		ssh(sshconn.CauseNoSSH, "install the package openssh-client"),
		ssh(sshconn.CauseNoCommand, "--ssh-command names a program on PATH, or its whole path"),
		ssh(sshconn.CauseCommandArguments, "--ssh-command takes a program without arguments: put options into the file that --ssh-config names, or into a script"),
		ssh(sshconn.CauseCommandUntrusted, "keep it in a directory of root's, as a file of root's: chown root:root, chmod go-w"),
		ssh(sshconn.CauseSSHConfig, "correct ~/.ssh/config"),
		ssh(sshconn.CauseSettingsForeign, "chown {$2} {$1}"),
		ssh(sshconn.CauseSettingsWritable, "chmod go-w {$1}"),
		ssh(sshconn.CauseSettingsReplaceable, "keep it in a directory where only you and root may write"),

		sftp(sftpstore.CauseFalseReport, "the server reports false results: look at its log and its free space"),
		sftp(sftpstore.CauseEndless, "no repository has so many files: look at what the server holds there"),
		sftp(sftpstore.CauseDenied, "let the account write there. For an account that may only add, "+
			"make the directories first: keys packs/00 to packs/ff index manifests log leases tmp"),
		sftp(sftpstore.CauseNoRemoval, "this account may only add: remove and prune with another key or account"),
		sftp(sftpstore.CauseUnexplained, "the server does not say why: look at its log and at the account's quota"),
		sftp(sftpstore.CauseUnpublished, unfitHint),
		as(func(*sftpstore.UnfitError) string { return unfitHint }),

		as(func(*dirstore.NoLinksError) string {
			return "use a file system that has hard links, and only one for all of the repository"
		}),
		as(func(*localdir.SharedError) string {
			return "name a directory that only root may change, or only one user, with --state-dir and --cache-dir"
		}),
		as(func(*localdir.LinkError) string {
			return "replace the link by the directory that it leads to"
		}),
	}
}
