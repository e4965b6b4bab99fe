-- The tables of a Mastodon database that a backup meets: names, columns and
-- types as Mastodon 4.5 has them, without those that stay empty here.

-- timestamp_id gives out IDs that sort by time: milliseconds, then 16 bits that
-- differ within one.
CREATE FUNCTION timestamp_id(table_name text) RETURNS bigint LANGUAGE plpgsql VOLATILE AS $$
DECLARE
  ms bigint := floor(extract(epoch FROM clock_timestamp()) * 1000);
  tail bigint := nextval(table_name || '_id_seq') & 65535;
BEGIN
  RETURN ms << 16 | tail;
END
$$;

CREATE SEQUENCE accounts_id_seq;
CREATE SEQUENCE statuses_id_seq;
CREATE SEQUENCE media_attachments_id_seq;

CREATE TABLE schema_migrations (version varchar NOT NULL);
CREATE TABLE ar_internal_metadata (
  key varchar NOT NULL, value varchar,
  created_at timestamp(6) NOT NULL, updated_at timestamp(6) NOT NULL
);

CREATE TABLE accounts (
  id bigint DEFAULT timestamp_id('accounts'::text) NOT NULL,
  username varchar DEFAULT '' NOT NULL, domain varchar, private_key text, public_key text DEFAULT '' NOT NULL,
  created_at timestamp NOT NULL, updated_at timestamp NOT NULL,
  note text DEFAULT '' NOT NULL, display_name varchar DEFAULT '' NOT NULL, uri varchar DEFAULT '' NOT NULL, url varchar,
  avatar_file_name varchar, avatar_content_type varchar, avatar_file_size integer, avatar_updated_at timestamp,
  header_file_name varchar, header_content_type varchar, header_file_size integer, header_updated_at timestamp,
  avatar_remote_url varchar, locked boolean DEFAULT false NOT NULL, header_remote_url varchar DEFAULT '' NOT NULL,
  last_webfingered_at timestamp, inbox_url varchar DEFAULT '' NOT NULL, outbox_url varchar DEFAULT '' NOT NULL,
  shared_inbox_url varchar DEFAULT '' NOT NULL, followers_url varchar DEFAULT '' NOT NULL,
  protocol integer DEFAULT 0 NOT NULL, memorial boolean DEFAULT false NOT NULL, moved_to_account_id bigint,
  featured_collection_url varchar, fields jsonb, actor_type varchar, discoverable boolean, also_known_as varchar[],
  silenced_at timestamp, suspended_at timestamp, hide_collections boolean,
  avatar_storage_schema_version integer, header_storage_schema_version integer, sensitized_at timestamp,
  suspension_origin integer, trendable boolean, reviewed_at timestamp, requested_review_at timestamp,
  indexable boolean DEFAULT false NOT NULL, attribution_domains varchar[] DEFAULT '{}'
);

CREATE TABLE account_stats (
  id bigserial, account_id bigint NOT NULL, statuses_count bigint DEFAULT 0 NOT NULL,
  following_count bigint DEFAULT 0 NOT NULL, followers_count bigint DEFAULT 0 NOT NULL,
  created_at timestamp NOT NULL, updated_at timestamp NOT NULL, last_status_at timestamp
);

CREATE TABLE users (
  id bigserial, email varchar DEFAULT '' NOT NULL, created_at timestamp NOT NULL, updated_at timestamp NOT NULL,
  encrypted_password varchar DEFAULT '' NOT NULL, reset_password_token varchar, sign_in_count integer DEFAULT 0 NOT NULL,
  current_sign_in_at timestamp, last_sign_in_at timestamp, confirmation_token varchar, confirmed_at timestamp, locale varchar,
  consumed_timestep integer, otp_required_for_login boolean DEFAULT false NOT NULL, otp_backup_codes varchar[],
  account_id bigint NOT NULL, disabled boolean DEFAULT false NOT NULL, chosen_languages varchar[],
  approved boolean DEFAULT true NOT NULL, sign_up_ip inet, settings text, time_zone varchar, otp_secret varchar
);

CREATE TABLE conversations (
  id bigserial, uri varchar, created_at timestamp NOT NULL, updated_at timestamp NOT NULL,
  parent_status_id bigint, parent_account_id bigint
);

CREATE TABLE statuses (
  id bigint DEFAULT timestamp_id('statuses'::text) NOT NULL,
  uri varchar, text text DEFAULT '' NOT NULL, created_at timestamp NOT NULL, updated_at timestamp NOT NULL,
  in_reply_to_id bigint, reblog_of_id bigint, url varchar, sensitive boolean DEFAULT false NOT NULL,
  visibility integer DEFAULT 0 NOT NULL, spoiler_text text DEFAULT '' NOT NULL, reply boolean DEFAULT false NOT NULL,
  language varchar, conversation_id bigint, local boolean, account_id bigint NOT NULL, application_id bigint,
  in_reply_to_account_id bigint, poll_id bigint, deleted_at timestamp, edited_at timestamp, trendable boolean,
  ordered_media_attachment_ids bigint[], fetched_replies_at timestamp(6), quote_approval_policy integer DEFAULT 0 NOT NULL
);

CREATE TABLE status_stats (
  id bigserial, status_id bigint NOT NULL, replies_count bigint DEFAULT 0 NOT NULL,
  reblogs_count bigint DEFAULT 0 NOT NULL, favourites_count bigint DEFAULT 0 NOT NULL,
  created_at timestamp NOT NULL, updated_at timestamp NOT NULL,
  untrusted_favourites_count bigint, untrusted_reblogs_count bigint, quotes_count bigint DEFAULT 0 NOT NULL
);

CREATE TABLE media_attachments (
  id bigint DEFAULT timestamp_id('media_attachments'::text) NOT NULL,
  status_id bigint, file_file_name varchar, file_content_type varchar, file_file_size integer, file_updated_at timestamp,
  remote_url varchar DEFAULT '' NOT NULL, created_at timestamp NOT NULL, updated_at timestamp NOT NULL, shortcode varchar,
  type integer DEFAULT 0 NOT NULL, file_meta json, account_id bigint, description text, blurhash varchar, processing integer,
  file_storage_schema_version integer, thumbnail_remote_url varchar
);

CREATE TABLE mentions (
  id bigserial, status_id bigint NOT NULL, created_at timestamp NOT NULL, updated_at timestamp NOT NULL,
  account_id bigint NOT NULL, silent boolean DEFAULT false NOT NULL
);

CREATE TABLE favourites (
  id bigserial, created_at timestamp NOT NULL, updated_at timestamp NOT NULL, account_id bigint NOT NULL, status_id bigint NOT NULL
);

CREATE TABLE follows (
  id bigserial, created_at timestamp NOT NULL, updated_at timestamp NOT NULL, account_id bigint NOT NULL,
  target_account_id bigint NOT NULL, show_reblogs boolean DEFAULT true NOT NULL, uri varchar,
  notify boolean DEFAULT false NOT NULL, languages varchar[]
);

CREATE TABLE notifications (
  id bigserial, activity_id bigint NOT NULL, activity_type varchar NOT NULL, created_at timestamp NOT NULL,
  updated_at timestamp NOT NULL, account_id bigint NOT NULL, from_account_id bigint NOT NULL, type varchar,
  filtered boolean DEFAULT false NOT NULL, group_key varchar
);

CREATE TABLE tags (
  id bigserial, name varchar DEFAULT '' NOT NULL, created_at timestamp NOT NULL, updated_at timestamp NOT NULL,
  usable boolean, trendable boolean, listable boolean, last_status_at timestamp, max_score double precision, display_name varchar
);
CREATE TABLE statuses_tags (status_id bigint NOT NULL, tag_id bigint NOT NULL);

CREATE TABLE preview_cards (
  id bigserial, url varchar DEFAULT '' NOT NULL, title varchar DEFAULT '' NOT NULL, description varchar DEFAULT '' NOT NULL,
  image_file_name varchar, image_content_type varchar, image_file_size integer, image_updated_at timestamp,
  type integer DEFAULT 0 NOT NULL, html text DEFAULT '' NOT NULL, author_name varchar DEFAULT '' NOT NULL,
  author_url varchar DEFAULT '' NOT NULL, provider_name varchar DEFAULT '' NOT NULL, provider_url varchar DEFAULT '' NOT NULL,
  width integer DEFAULT 0 NOT NULL, height integer DEFAULT 0 NOT NULL, created_at timestamp NOT NULL, updated_at timestamp NOT NULL,
  embed_url varchar DEFAULT '' NOT NULL, image_storage_schema_version integer, blurhash varchar, language varchar,
  image_description varchar DEFAULT '' NOT NULL
);
CREATE TABLE preview_cards_statuses (preview_card_id bigint NOT NULL, status_id bigint NOT NULL, url varchar);

CREATE TABLE custom_emojis (
  id bigserial, shortcode varchar DEFAULT '' NOT NULL, domain varchar, image_file_name varchar, image_content_type varchar,
  image_file_size integer, image_updated_at timestamp, created_at timestamp NOT NULL, updated_at timestamp NOT NULL,
  disabled boolean DEFAULT false NOT NULL, uri varchar, image_remote_url varchar, visible_in_picker boolean DEFAULT true NOT NULL,
  category_id bigint, image_storage_schema_version integer
);

CREATE TABLE oauth_applications (
  id bigserial, name varchar NOT NULL, uid varchar NOT NULL, secret varchar NOT NULL, redirect_uri text NOT NULL,
  scopes varchar DEFAULT '' NOT NULL, created_at timestamp, updated_at timestamp, superapp boolean DEFAULT false NOT NULL,
  website varchar, owner_type varchar, owner_id bigint, confidential boolean DEFAULT true NOT NULL
);
CREATE TABLE oauth_access_tokens (
  id bigserial, token varchar NOT NULL, refresh_token varchar, expires_in integer, revoked_at timestamp,
  created_at timestamp NOT NULL, scopes varchar, application_id bigint, resource_owner_id bigint,
  last_used_at timestamp, last_used_ip inet
);
CREATE TABLE session_activations (
  id bigserial, session_id varchar NOT NULL, created_at timestamp NOT NULL, updated_at timestamp NOT NULL,
  user_agent varchar DEFAULT '' NOT NULL, ip inet, access_token_id bigint, user_id bigint NOT NULL, web_push_subscription_id bigint
);

CREATE TABLE settings (id bigserial, var varchar NOT NULL, value text, created_at timestamp, updated_at timestamp);
CREATE TABLE site_uploads (
  id bigserial, var varchar DEFAULT '' NOT NULL, file_file_name varchar, file_content_type varchar, file_file_size integer,
  file_updated_at timestamp, meta json, created_at timestamp NOT NULL, updated_at timestamp NOT NULL, blurhash varchar
);
CREATE TABLE domain_blocks (
  id bigserial, domain varchar DEFAULT '' NOT NULL, created_at timestamp NOT NULL, updated_at timestamp NOT NULL,
  severity integer DEFAULT 0, reject_media boolean DEFAULT false NOT NULL, reject_reports boolean DEFAULT false NOT NULL,
  private_comment text, public_comment text, obfuscate boolean DEFAULT false NOT NULL
);
