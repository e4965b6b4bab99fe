-- Every sequence goes on after the highest ID that its table holds.
DO $$
DECLARE t record; top bigint;
BEGIN
  FOR t IN SELECT table_name FROM information_schema.columns
    WHERE table_schema = 'public' AND column_name = 'id' AND column_default LIKE 'nextval%'
  LOOP
    EXECUTE format('SELECT max(id) FROM %I', t.table_name) INTO top;
    PERFORM setval(pg_get_serial_sequence(t.table_name, 'id'), coalesce(top, 1), top IS NOT NULL);
  END LOOP;
END
$$;
REFRESH MATERIALIZED VIEW instances;
