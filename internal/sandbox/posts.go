package sandbox

import (
	"strconv"
	"time"
)

// flowing are the tables that grow with the statuses.
var flowing = []table{
	{"conversations", "id uri created_at updated_at parent_status_id parent_account_id", conversationRows},
	{"statuses", `id uri text created_at updated_at in_reply_to_id reblog_of_id url sensitive visibility spoiler_text reply
		language conversation_id local account_id in_reply_to_account_id ordered_media_attachment_ids`, statusRows},
	{"status_stats", "id status_id replies_count reblogs_count favourites_count created_at updated_at", statRows},
	{"media_attachments", `id status_id account_id file_file_name file_content_type file_file_size file_updated_at remote_url
		created_at updated_at shortcode type file_meta description blurhash processing file_storage_schema_version`, attachmentRows},
	{"mentions", "id status_id created_at updated_at account_id", mentionRows},
	{"favourites", "id created_at updated_at account_id status_id", favouriteRows},
	{"notifications", "id activity_id activity_type created_at updated_at account_id from_account_id type", notificationRows},
	{"statuses_tags", "status_id tag_id", statusTagRows},
	{"preview_cards", `id url title description image_file_name image_content_type image_file_size image_updated_at type
		author_name provider_name provider_url width height created_at updated_at blurhash language image_storage_schema_version`, cardRows},
	{"preview_cards_statuses", "preview_card_id status_id url", cardStatusRows},
}

func conversationRows(w *world, r *rows, from, to int) {
	for k := from; k < to; k++ {
		id, starts := w.conversation(k)
		if !starts {
			continue
		}
		author := w.author(k)
		r.int(int64(id))
		if author < w.locals {
			r.null()
		} else {
			r.text("tag:" + w.host(author) + "," + w.statusTime(k).Format("2006-01-02") + ":objectId=" + strconv.Itoa(k) + ":objectType=Conversation")
		}
		r.times(w.statusTime(k))
		r.ints(w.statusID(k), w.accountID(author))
		r.end()
	}
}

func statusRows(w *world, r *rows, from, to int) {
	for k := from; k < to; k++ {
		author, at, id := w.author(k), w.statusTime(k), w.statusID(k)
		host, name := w.host(author), w.username(author)
		page := "https://" + host + "/users/" + name + "/statuses/" + strconv.FormatInt(id, 10)
		parent, reply := w.answers(k)
		boosted, boost := w.reblogs(k)
		text := w.rand(kindText, k)

		r.int(id)
		if boost {
			r.texts(page+"/activity", "")
		} else {
			r.text(page)
			w.statusText(r, k, text)
		}
		r.times(at)
		if reply {
			r.int(w.statusID(parent))
		} else {
			r.null()
		}
		if boost {
			r.int(w.statusID(boosted))
			r.null()
		} else {
			r.null()
			r.text("https://" + host + "/@" + name + "/" + strconv.FormatInt(id, 10))
		}
		warned := text.chance(15)
		r.bool(warned)
		r.int([]int64{0, 0, 0, 0, 1, 1, 2, 3}[text.below(8)])
		if warned {
			r.prose(text, "", 24, "")
		} else {
			r.text("")
		}
		r.bool(reply)
		r.text([]string{"en", "en", "en", "de", "fr", "ja"}[text.below(6)])
		thread, _ := w.conversation(k)
		r.int(int64(thread))
		r.bool(author < w.locals)
		r.int(w.accountID(author))
		if reply {
			r.int(w.accountID(w.author(parent)))
		} else {
			r.null()
		}
		if m, ok := w.attachment(k); ok {
			r.text("{" + strconv.FormatInt(w.mediaID(m), 10) + "}")
		} else {
			r.text("{}")
		}
		r.end()
	}
}

// statusText writes what a status says: HTML where it came from elsewhere.
func (w *world) statusText(r *rows, k int, text *rng) {
	if k == markedStatus {
		r.text(Markers.Status)
		return
	}
	if w.author(k) < w.locals {
		r.prose(text, "", text.length(), "")
		return
	}
	before, after := "<p>", "</p>"
	if to, ok := w.answers(k); ok {
		host, name := w.host(w.author(to)), w.username(w.author(to))
		before = `<p><span class="h-card" translate="no"><a href="https://` + host + `/@` + name +
			`" class="u-url mention" rel="nofollow noopener" target="_blank">@<span>` + name + `</span></a></span> `
	}
	if tag, ok := w.statusTag(k); ok {
		name := w.tag(tag)
		after = ` <a href="https://` + w.host(w.author(k)) + `/tags/` + name +
			`" class="mention hashtag" rel="nofollow noopener" target="_blank">#<span>` + name + `</span></a></p>`
	}
	r.prose(text, before, text.length(), after)
}

func statRows(w *world, r *rows, from, to int) {
	for k := from; k < to; k++ {
		if k%3 != 0 {
			continue
		}
		c := w.rand(kindFavourite, k)
		likes := int64(w.likes(k))
		r.ints(int64(k/3+1), w.statusID(k), int64(c.below(4)), int64(c.below(9)), likes)
		r.times(w.statusTime(k))
		r.end()
	}
}

func attachmentRows(w *world, r *rows, from, to int) {
	for k := from; k < to; k++ {
		m, ok := w.attachment(k)
		if !ok {
			continue
		}
		text := w.rand(kindMedia, m)
		text.next()
		author := w.author(k)
		r.ints(w.mediaID(m), w.statusID(k), w.accountID(author))
		f := w.original(m)
		f.columns(r)
		if f.remote {
			r.text("https://files." + w.host(author) + "/media_attachments/files/" + partition(w.mediaID(m)) + "/original/" + text.hex(8) + ".jpg")
		} else {
			r.text("")
		}
		r.times(w.statusTime(k))
		if f.remote {
			r.null()
		} else {
			r.text(text.base64(14) + strconv.Itoa(m))
		}
		if w.video(m) {
			r.int(2)
		} else {
			r.int(0)
		}
		r.text(`{"original":{"width":1280,"height":960,"size":"1280x960","aspect":1.3333333333333333},"small":{"width":554,"height":416,"size":"554x416","aspect":1.3317307692307692}}`)
		if text.chance(2) {
			r.prose(text, "", text.between(30, 250), "")
		} else {
			r.null()
		}
		r.text("U" + text.base64(35))
		r.ints(2, 1)
		r.end()
	}
}

func mentionRows(w *world, r *rows, from, to int) {
	for k := from; k < to; k++ {
		parent, ok := w.answers(k)
		if !ok {
			continue
		}
		r.ints(int64(k+1), w.statusID(k))
		r.times(w.statusTime(k))
		r.int(w.accountID(w.author(parent)))
		r.end()
	}
}

// likes is how many favourites the k-th status has.
func (w *world) likes(k int) int {
	if _, boost := w.reblogs(k); boost {
		return 0
	}
	return max(0, w.rand(kindFavourite, k).below(6)-3)
}

// fan is the account of the i-th favourite of the k-th status.
func (w *world) fan(k, i int) int {
	c := w.rand(kindFavourite, k)
	c.next()
	return (c.below(w.accounts) + i) % w.accounts
}

func favouriteRows(w *world, r *rows, from, to int) {
	for k := from; k < to; k++ {
		for i := range w.likes(k) {
			r.int(int64(4*k + i + 1))
			r.times(w.statusTime(k).Add(time.Duration(i+1) * time.Minute))
			r.ints(w.accountID(w.fan(k, i)), w.statusID(k))
			r.end()
		}
	}
}

// notificationRows tells local accounts of favourites and replies.
func notificationRows(w *world, r *rows, from, to int) {
	for k := from; k < to; k++ {
		at := w.statusTime(k)
		if author := w.author(k); author < w.locals {
			for i := range w.likes(k) {
				r.ints(int64(8*k+i+1), int64(4*k+i+1))
				r.text("Favourite")
				r.times(at)
				r.ints(w.accountID(author), w.accountID(w.fan(k, i)))
				r.text("favourite")
				r.end()
			}
		}
		if parent, ok := w.answers(k); ok && w.author(parent) < w.locals {
			r.ints(int64(8*k+8), int64(k+1))
			r.text("Mention")
			r.times(at)
			r.ints(w.accountID(w.author(parent)), w.accountID(w.author(k)))
			r.text("mention")
			r.end()
		}
	}
}

// statusTag is the tag of the k-th status, if it has one.
func (w *world) statusTag(k int) (tag int, ok bool) {
	if _, boost := w.reblogs(k); boost {
		return 0, false
	}
	c := w.rand(kindMention, k)
	if !c.chance(3) {
		return 0, false
	}
	return c.below(w.tags) * c.below(w.tags) / w.tags, true
}

func statusTagRows(w *world, r *rows, from, to int) {
	for k := from; k < to; k++ {
		if tag, ok := w.statusTag(k); ok {
			r.ints(w.statusID(k), int64(tag+1))
			r.end()
		}
	}
}

// cardURL is the page that a preview card shows.
func (w *world) cardURL(id int) string {
	c := w.rand(kindCard, id)
	return "https://news-" + strconv.Itoa(c.below(50)) + ".example/" + strconv.Itoa(id) + "/" +
		word(c.below(vocabulary)) + "-" + word(c.below(vocabulary)) + "-" + word(c.below(vocabulary))
}

func cardRows(w *world, r *rows, from, to int) {
	for k := from; k < to; k++ {
		id, ok := w.card(k)
		if !ok {
			continue
		}
		text := w.rand(kindCard, id)
		r.int(int64(id))
		r.text(w.cardURL(id))
		r.prose(text, "", text.between(30, 90), "")
		r.prose(text, "", text.between(80, 300), "")
		w.cardImage(id).columns(r)
		r.int(0)
		r.prose(text, "", 14, "")
		r.texts("News", "https://news.example")
		r.ints(1200, 630)
		r.times(w.statusTime(k))
		r.texts("U"+text.base64(35), "en")
		r.int(1)
		r.end()
	}
}

func cardStatusRows(w *world, r *rows, from, to int) {
	for k := from; k < to; k++ {
		if id, ok := w.card(k); ok {
			r.ints(int64(id), w.statusID(k))
			r.text(w.cardURL(id))
			r.end()
		}
	}
}
