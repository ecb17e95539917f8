-- Workers read everything and write through the functions below. Grant a login with: GRANT syndic_worker TO <login>.

DO $$
BEGIN
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'syndic_worker') THEN
        CREATE ROLE syndic_worker NOLOGIN;
    END IF;
EXCEPTION WHEN duplicate_object OR unique_violation THEN
    NULL; -- Roles belong to the whole server: another database's migration was faster.
END $$;

REVOKE ALL ON SCHEMA syndic FROM PUBLIC;
REVOKE ALL ON ALL TABLES IN SCHEMA syndic FROM PUBLIC;
REVOKE ALL ON ALL FUNCTIONS IN SCHEMA syndic FROM PUBLIC;
GRANT USAGE ON SCHEMA syndic TO syndic_worker;
GRANT SELECT ON ALL TABLES IN SCHEMA syndic TO syndic_worker;
GRANT EXECUTE ON FUNCTION syndic.record, syndic.apply, syndic.acquire_lease, syndic.renew_lease, syndic.release_lease,
    syndic.reconcile, syndic.open_budget, syndic.raise_budget, syndic.put_artifact, syndic.set_standing, syndic.post,
    syndic.mark_delivered, syndic.redeliver, syndic.step_json TO syndic_worker;
