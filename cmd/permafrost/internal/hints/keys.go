package hints

import "permafrost/repo/cause"

// keyRules are the hints for key files and recipients, for what can't be repaired, and for the choice of snapshots.
func keyRules() []rule {
	return []rule{
		because(cause.KeyFileAbsent, "name a file that `permafrost init` or `permafrost key add` wrote, an age identity file, or an SSH private key"),
		because(cause.KeyFileDirectory, "give the key file in it"),
		because(cause.KeyFileEmpty, "use another copy of the key file"),
		because(cause.KeyFileEncrypted, "decrypt it first: age -d -i YOUR-KEY {$1}"),
		because(cause.KeyFilePassphrase, "decrypt it first: age -d -o PLAIN {$1}"),
		because(cause.KeyFileNoKey, "give a file that `permafrost init` or `permafrost key add` wrote, an age identity file, or an SSH private key"),
		because(cause.KeyFilePublic, "give the file with the private key that belongs to it"),
		because(cause.KeyFileCut, "use another copy of the key file: this one was cut or mistyped"),
		because(cause.KeyFileOldSSH, "keep the .pub file beside it, or convert it: ssh-keygen -p -f {$1}"),
		because(cause.KeyFileNote, "begin a note with #; if it is no note, use another copy of the file"),
		because(cause.KeyFileDamaged, "use another copy of the key file"),
		because(cause.KeyFileEdited, "delete the lines that begin with AGE-SECRET-KEY from a copy of the file: the keyring itself is whole"),
		because(cause.KeyFileExists, "choose another name, or move that file away: it may be the only key to another repository"),
		because(cause.KeyFileShared, "keep key files where only root may write, such as /root or /etc/permafrost, and carry copies from there"),
		because(cause.TooManyEpochs, "start a new repository: `permafrost init`"),
		because(cause.RecipientLines, "give one recipient at a time"),
		because(cause.RecipientCut, "copy the recipient again: it was cut or mistyped"),
		because(cause.RecipientPrivate, "give the public key that belongs to it: age-keygen -y FILE prints it"),
		because(cause.RecipientSSH, "use an ssh-ed25519 or ssh-rsa key, or age-keygen -pq"),
		because(cause.RecipientFile, `give what the file holds, "$(cat FILE)": age1…, age1pq1…, or an ssh-ed25519 or ssh-rsa public key`),
		because(cause.RecipientUnknown, "give age1…, age1pq1…, or the text of an ssh-ed25519 or ssh-rsa public key"),
		because(cause.PluginAbsent, "install age-plugin-{1} so that it is found in PATH"),
		because(cause.NoPacks, "look whether this is the right storage: an empty one can't be repaired"),
		because(cause.IndexNeeded, "run `permafrost repair index` first"),
		because(cause.IndexNewer, "update permafrost on this machine; if no newer one was ever used, --accept-head takes it for damage"),

		because(cause.NoSnapshots, "make the first: `permafrost snapshot`"),
		because(cause.SeveralInstances, "say which one with --instance, or name the snapshot by its ID"),
		because(cause.NoSnapshotName, "name one by its date (2026-06-27), as latest or latest~1, or by its ID: permafrost snapshots lists them"),
		because(cause.NoSnapshotID, "look it up: `permafrost snapshots` lists them"),
		because(cause.PolicyKeepsNothing, "say what to keep, for example --keep-daily 7 --keep-weekly 4 --keep-monthly 12"),
		because(cause.PolicyRemovesAll, "keep at least the newest with --keep-last 1; --allow-remove-all removes all of them"),
	}
}
