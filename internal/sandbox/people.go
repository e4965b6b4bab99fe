package sandbox

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// fixed are the tables that do not grow with the statuses.
var fixed = []table{
	{"schema_migrations", "version", migrationRows},
	{"ar_internal_metadata", "key value created_at updated_at", metadataRows},
	{"accounts", `id username domain private_key public_key created_at updated_at note display_name uri url
		avatar_file_name avatar_content_type avatar_file_size avatar_updated_at
		header_file_name header_content_type header_file_size header_updated_at
		avatar_remote_url inbox_url outbox_url shared_inbox_url followers_url protocol fields actor_type discoverable
		avatar_storage_schema_version suspended_at`, accountRows},
	{"account_stats", "account_id statuses_count following_count followers_count created_at updated_at last_status_at", accountStatRows},
	{"users", `email created_at updated_at encrypted_password sign_in_count current_sign_in_at last_sign_in_at confirmed_at
		locale otp_required_for_login account_id sign_up_ip settings time_zone otp_secret`, userRows},
	{"oauth_applications", "name uid secret redirect_uri scopes created_at updated_at superapp", applicationRows},
	{"oauth_access_tokens", "token created_at scopes application_id resource_owner_id last_used_at last_used_ip", tokenRows},
	{"session_activations", "session_id created_at updated_at user_agent ip access_token_id user_id", sessionRows},
	{"follows", "created_at updated_at account_id target_account_id uri", followRows},
	{"tags", "name created_at updated_at usable display_name", tagRows},
	{"custom_emojis", `shortcode domain image_file_name image_content_type image_file_size image_updated_at
		created_at updated_at uri image_remote_url image_storage_schema_version`, emojiRows},
	{"site_uploads", "var file_file_name file_content_type file_file_size file_updated_at created_at updated_at", uploadRows},
	{"settings", "var value created_at updated_at", settingRows},
	{"domain_blocks", "domain created_at updated_at severity private_comment", blockRows},
}

func migrationRows(_ *world, r *rows, _, _ int) {
	for i := range migrations {
		r.text(firstMigration.AddDate(0, 0, 7*i).Format(migrationForm))
		r.end()
	}
}

func metadataRows(_ *world, r *rows, _, _ int) {
	r.texts("environment", "production")
	r.times(dawn.Add(-ages))
	r.end()
}

func accountRows(w *world, r *rows, _, _ int) {
	for k := range w.accounts {
		local, host, name, born := k < w.locals, w.host(k), w.username(k), w.accountTime(k)
		keys := w.rand(kindKey, k)
		r.int(w.accountID(k))
		r.text(name)
		if local {
			r.null()
			r.text(armor("RSA PRIVATE KEY", keys.base64(1592)))
		} else {
			r.texts(host, "")
		}
		r.text(armor("PUBLIC KEY", keys.base64(392)))
		r.times(born)
		text := w.rand(kindText, -k-1)
		r.prose(text, "<p>", text.between(20, 400), "</p>")
		r.prose(text, "", text.between(6, 20), "")
		actor := "https://" + host + "/users/" + name
		r.texts(actor, "https://"+host+"/@"+name)
		w.avatar(k).columns(r)
		w.header(k).columns(r)
		r.texts("https://files."+host+"/avatars/"+keys.hex(16)+".jpg", actor+"/inbox", actor+"/outbox",
			"https://"+host+"/inbox", actor+"/followers")
		r.int(1)
		r.text(`[{"name": "Web", "value": "<a href=\"https://` + name + `.example\" rel=\"me\">` + name + `.example</a>"}]`)
		r.text("Person")
		r.bool(text.chance(2))
		r.int(1)
		if w.suspended(k) {
			r.time(dawn.Add(-time.Hour))
		} else {
			r.null()
		}
		r.end()
	}
}

func armor(label, body string) string {
	var b strings.Builder
	b.WriteString("-----BEGIN " + label + "-----\n")
	for ; len(body) > 64; body = body[64:] {
		b.WriteString(body[:64] + "\n")
	}
	b.WriteString(body + "\n-----END " + label + "-----\n")
	return b.String()
}

func accountStatRows(w *world, r *rows, _, _ int) {
	for k := range w.accounts {
		c := w.rand(kindFollow, -k-1)
		r.int(w.accountID(k))
		r.ints(int64(c.below(3000)), int64(c.below(500)), int64(c.below(2000)))
		r.times(w.accountTime(k))
		r.time(dawn.Add(-time.Duration(c.below(int(history)))))
		r.end()
	}
}

func userRows(w *world, r *rows, _, _ int) {
	for k := range w.locals {
		c, born := w.rand(kindToken, -k-1), w.accountTime(k)
		r.text(w.username(k) + "@mail.example")
		r.times(born)
		r.text("$2a$10$" + strings.ReplaceAll(c.base64(53), "+", "."))
		r.int(int64(c.below(90)))
		r.time(dawn.Add(-time.Duration(c.below(int(48 * time.Hour)))))
		r.time(dawn.Add(-72 * time.Hour))
		r.time(born)
		r.text([]string{"en", "de", "fr", "ja"}[c.below(4)])
		otp := c.chance(4)
		r.bool(otp)
		r.int(w.accountID(k))
		r.text(fmt.Sprintf("192.0.2.%d", c.below(256)))
		r.texts(`{"default_privacy":"public","theme":"system"}`, "Europe/Berlin")
		if otp {
			r.text(`{"p":"` + c.base64(43) + `=","h":{"iv":"` + c.base64(16) + `","at":"` + c.base64(22) + `=="}}`)
		} else {
			r.null()
		}
		r.end()
	}
}

func applicationRows(w *world, r *rows, _, _ int) {
	c := w.rand(kindToken, 0)
	for _, name := range []string{"Web", "Mastodon for Android", "Ivory", "Tusky"} {
		r.texts(name, c.base64(43), c.base64(43), "urn:ietf:wg:oauth:2.0:oob", "read write follow push")
		r.times(dawn.Add(-ages))
		r.bool(name == "Web")
		r.end()
	}
}

func tokenRows(w *world, r *rows, _, _ int) {
	for i := range 3 * w.locals {
		c := w.rand(kindToken, i+1)
		r.text(strings.ReplaceAll(c.base64(43), "/", "_"))
		r.time(dawn.Add(-time.Duration(c.below(int(history)))))
		r.text("read write follow push")
		r.ints(int64(i%3+1), int64(i/3+1))
		r.time(dawn.Add(-time.Duration(c.below(int(72 * time.Hour)))))
		r.text(fmt.Sprintf("198.51.100.%d", c.below(256)))
		r.end()
	}
}

func sessionRows(w *world, r *rows, _, _ int) {
	for i := range w.locals {
		c := w.rand(kindToken, 1<<30+i)
		r.text(c.hex(16))
		r.times(dawn.Add(-time.Duration(c.below(int(history)))))
		r.text("Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0")
		r.text(fmt.Sprintf("203.0.113.%d", c.below(256)))
		r.ints(int64(3*i+1), int64(i+1))
		r.end()
	}
}

// followRows lets every local account follow, and be followed by, some others.
func followRows(w *world, r *rows, _, _ int) {
	const each = 20
	step := max(1, w.accounts/(each+1))
	for k := range w.locals {
		c := w.rand(kindFollow, k)
		for i := 1; i <= min(each, w.accounts-1); i++ {
			other := (k + i*step) % w.accounts
			if other == k {
				continue
			}
			from, to := k, other
			if other >= w.locals && i%2 == 0 {
				from, to = other, k
			}
			r.times(dawn.Add(-time.Duration(c.below(int(history)))))
			r.ints(w.accountID(from), w.accountID(to))
			r.text("https://" + w.host(from) + "/" + c.hex(4) + "-" + c.hex(2) + "-" + c.hex(2) + "-" + c.hex(6))
			r.end()
		}
	}
}

func tagRows(w *world, r *rows, _, _ int) {
	for k := range w.tags {
		r.text(w.tag(k))
		r.times(dawn.Add(-history))
		r.bool(true)
		r.text(strings.ToUpper(w.tag(k)[:1]) + w.tag(k)[1:])
		r.end()
	}
}

func (w *world) tag(k int) string {
	return word(w.rand(kindTag, k).below(vocabulary)) + strconv.Itoa(k)
}

func emojiRows(w *world, r *rows, _, _ int) {
	for k := range w.emojis {
		name := word(w.rand(kindEmoji, k).below(vocabulary)) + "_" + strconv.Itoa(k)
		r.text(name)
		if f := w.emoji(k); f.remote {
			r.text("social-1.example")
		} else {
			r.null()
		}
		w.emoji(k).columns(r)
		r.times(dawn.Add(-history))
		r.texts("https://"+domain+"/emojis/"+strconv.Itoa(k+1), "https://files."+domain+"/"+name+".png")
		r.int(1)
		r.end()
	}
}

func uploadRows(w *world, r *rows, _, _ int) {
	r.text("thumbnail")
	marked := w.upload()
	marked.columns(r)
	r.times(marked.time)
	r.end()
}

func settingRows(_ *world, r *rows, _, _ int) {
	for _, s := range [][2]string{
		{"site_title", "--- A small sandbox\n"}, {"registrations_mode", "--- open\n"}, {"site_contact_username", "--- admin\n"},
	} {
		r.texts(s[0], s[1])
		r.times(dawn.Add(-ages))
		r.end()
	}
}

func blockRows(w *world, r *rows, _, _ int) {
	for i := range 40 {
		r.text("blocked-" + strconv.Itoa(i) + ".example")
		r.times(dawn.Add(-history))
		r.int(int64(i % 2))
		r.prose(w.rand(kindText, 1<<40+i), "", 40, "")
		r.end()
	}
}
