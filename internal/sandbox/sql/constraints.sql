-- Keys, indexes, foreign keys and views, made once the rows are in. Mastodon's
-- own names where others refer to them, PostgreSQL's elsewhere.
SET maintenance_work_mem = '256MB';

ALTER TABLE schema_migrations ADD PRIMARY KEY (version);
ALTER TABLE ar_internal_metadata ADD PRIMARY KEY (key);
ALTER TABLE accounts ADD PRIMARY KEY (id);
ALTER TABLE account_stats ADD PRIMARY KEY (id);
ALTER TABLE users ADD PRIMARY KEY (id);
ALTER TABLE conversations ADD PRIMARY KEY (id);
ALTER TABLE statuses ADD PRIMARY KEY (id);
ALTER TABLE status_stats ADD PRIMARY KEY (id);
ALTER TABLE media_attachments ADD PRIMARY KEY (id);
ALTER TABLE mentions ADD PRIMARY KEY (id);
ALTER TABLE favourites ADD PRIMARY KEY (id);
ALTER TABLE follows ADD PRIMARY KEY (id);
ALTER TABLE notifications ADD PRIMARY KEY (id);
ALTER TABLE tags ADD PRIMARY KEY (id);
ALTER TABLE statuses_tags ADD PRIMARY KEY (tag_id, status_id);
ALTER TABLE preview_cards ADD PRIMARY KEY (id);
ALTER TABLE preview_cards_statuses ADD PRIMARY KEY (status_id, preview_card_id);
ALTER TABLE custom_emojis ADD PRIMARY KEY (id);
ALTER TABLE oauth_applications ADD PRIMARY KEY (id);
ALTER TABLE oauth_access_tokens ADD PRIMARY KEY (id);
ALTER TABLE session_activations ADD PRIMARY KEY (id);
ALTER TABLE settings ADD PRIMARY KEY (id);
ALTER TABLE site_uploads ADD PRIMARY KEY (id);
ALTER TABLE domain_blocks ADD PRIMARY KEY (id);

CREATE UNIQUE INDEX index_accounts_on_username_and_domain_lower ON accounts (lower(username), coalesce(lower(domain), ''));
CREATE INDEX search_index ON accounts USING gin ((
  setweight(to_tsvector('simple', display_name), 'A') || setweight(to_tsvector('simple', username), 'B')
  || setweight(to_tsvector('simple', coalesce(domain, '')), 'C')));
CREATE INDEX ON accounts (domain, id);
CREATE INDEX ON accounts (uri);
CREATE INDEX ON accounts (url text_pattern_ops) WHERE url IS NOT NULL;
CREATE UNIQUE INDEX ON account_stats (account_id);
CREATE INDEX ON account_stats (last_status_at DESC NULLS LAST, account_id);
CREATE INDEX ON users (account_id);
CREATE UNIQUE INDEX ON users (email);
CREATE UNIQUE INDEX ON conversations (uri text_pattern_ops) WHERE uri IS NOT NULL;
CREATE INDEX index_statuses_20190820 ON statuses (account_id, id DESC, visibility, updated_at) WHERE deleted_at IS NULL;
CREATE INDEX index_statuses_local_20190824 ON statuses (id DESC, account_id)
  WHERE (local OR uri IS NULL) AND deleted_at IS NULL AND visibility = 0 AND reblog_of_id IS NULL
  AND (NOT reply OR in_reply_to_account_id = account_id);
CREATE INDEX ON statuses (conversation_id);
CREATE INDEX ON statuses (in_reply_to_id) WHERE in_reply_to_id IS NOT NULL;
CREATE INDEX ON statuses (in_reply_to_account_id) WHERE in_reply_to_account_id IS NOT NULL;
CREATE INDEX ON statuses (reblog_of_id, account_id);
CREATE UNIQUE INDEX index_statuses_on_uri ON statuses (uri text_pattern_ops) WHERE uri IS NOT NULL;
CREATE UNIQUE INDEX ON status_stats (status_id);
CREATE INDEX ON media_attachments (account_id, status_id DESC);
CREATE INDEX ON media_attachments (status_id);
CREATE UNIQUE INDEX ON media_attachments (shortcode text_pattern_ops) WHERE shortcode IS NOT NULL;
CREATE UNIQUE INDEX ON mentions (account_id, status_id);
CREATE INDEX ON mentions (status_id);
CREATE INDEX ON favourites (account_id, id);
CREATE UNIQUE INDEX ON favourites (account_id, status_id);
CREATE INDEX ON favourites (status_id);
CREATE UNIQUE INDEX ON follows (account_id, target_account_id);
CREATE INDEX ON follows (target_account_id, account_id);
CREATE INDEX ON notifications (account_id, id DESC, type);
CREATE INDEX ON notifications (activity_id, activity_type);
CREATE INDEX ON notifications (from_account_id);
CREATE UNIQUE INDEX ON tags (lower(name) text_pattern_ops);
CREATE INDEX ON statuses_tags (status_id);
CREATE UNIQUE INDEX ON preview_cards (url);
CREATE UNIQUE INDEX ON custom_emojis (shortcode, domain);
CREATE UNIQUE INDEX ON oauth_applications (uid);
CREATE UNIQUE INDEX ON oauth_access_tokens (token);
CREATE INDEX ON oauth_access_tokens (resource_owner_id) WHERE resource_owner_id IS NOT NULL;
CREATE UNIQUE INDEX ON session_activations (session_id);
CREATE UNIQUE INDEX ON settings (var);
CREATE UNIQUE INDEX ON site_uploads (var);
CREATE UNIQUE INDEX ON domain_blocks (domain);

ALTER TABLE account_stats ADD FOREIGN KEY (account_id) REFERENCES accounts ON DELETE CASCADE;
ALTER TABLE users ADD FOREIGN KEY (account_id) REFERENCES accounts ON DELETE CASCADE;
ALTER TABLE statuses
  ADD FOREIGN KEY (account_id) REFERENCES accounts ON DELETE CASCADE,
  ADD FOREIGN KEY (in_reply_to_account_id) REFERENCES accounts ON DELETE SET NULL,
  ADD FOREIGN KEY (in_reply_to_id) REFERENCES statuses ON DELETE SET NULL,
  ADD FOREIGN KEY (reblog_of_id) REFERENCES statuses ON DELETE CASCADE;
ALTER TABLE status_stats ADD FOREIGN KEY (status_id) REFERENCES statuses ON DELETE CASCADE;
ALTER TABLE media_attachments
  ADD FOREIGN KEY (account_id) REFERENCES accounts ON DELETE SET NULL,
  ADD FOREIGN KEY (status_id) REFERENCES statuses ON DELETE SET NULL;
ALTER TABLE mentions
  ADD FOREIGN KEY (account_id) REFERENCES accounts ON DELETE CASCADE,
  ADD FOREIGN KEY (status_id) REFERENCES statuses ON DELETE CASCADE;
ALTER TABLE favourites
  ADD FOREIGN KEY (account_id) REFERENCES accounts ON DELETE CASCADE,
  ADD FOREIGN KEY (status_id) REFERENCES statuses ON DELETE CASCADE;
ALTER TABLE follows
  ADD FOREIGN KEY (account_id) REFERENCES accounts ON DELETE CASCADE,
  ADD FOREIGN KEY (target_account_id) REFERENCES accounts ON DELETE CASCADE;
ALTER TABLE notifications
  ADD FOREIGN KEY (account_id) REFERENCES accounts ON DELETE CASCADE,
  ADD FOREIGN KEY (from_account_id) REFERENCES accounts ON DELETE CASCADE;
ALTER TABLE statuses_tags
  ADD FOREIGN KEY (status_id) REFERENCES statuses ON DELETE CASCADE,
  ADD FOREIGN KEY (tag_id) REFERENCES tags ON DELETE CASCADE;
ALTER TABLE oauth_access_tokens
  ADD FOREIGN KEY (application_id) REFERENCES oauth_applications ON DELETE CASCADE,
  ADD FOREIGN KEY (resource_owner_id) REFERENCES users ON DELETE CASCADE;
ALTER TABLE session_activations
  ADD FOREIGN KEY (access_token_id) REFERENCES oauth_access_tokens ON DELETE CASCADE,
  ADD FOREIGN KEY (user_id) REFERENCES users ON DELETE CASCADE;

CREATE MATERIALIZED VIEW instances AS
  SELECT domain, count(*) AS accounts_count FROM accounts WHERE domain IS NOT NULL GROUP BY domain;
CREATE UNIQUE INDEX index_instances_on_domain ON instances (domain);
CREATE VIEW user_ips AS
  SELECT user_id, ip, max(updated_at) AS used_at FROM session_activations GROUP BY user_id, ip
  UNION ALL SELECT id, sign_up_ip, created_at FROM users;
