"""The SQL of a restore in place: what it needs on the server, and how everything in the database is dropped first.

`DROP SCHEMA` is not enough: large objects, publications, event triggers, foreign servers and default privileges are
outside of every schema, and `public` may hold an extension that only a superuser can create again.
"""

from collections.abc import Mapping
from typing import Any

import msgspec

# Rows of pg_shdepend name the owners and grantees of all objects in the database; those of the first superuser (oid 10)
# are pinned and have none.
_OBJECTS = """
  SELECT classid, objid, refobjid AS role, deptype FROM pg_shdepend
    WHERE refclassid = 'pg_authid'::regclass AND dbid = (SELECT oid FROM pg_database WHERE datname = current_database())
      AND deptype IN ('o', 'a')
  UNION ALL SELECT 'pg_class'::regclass, oid, relowner, 'o' FROM pg_class
    WHERE oid >= 16384 AND relowner = 10 AND relkind IN ('r', 'p', 'v', 'm', 'S', 'f')
      AND relnamespace <> 'pg_toast'::regnamespace
  UNION ALL SELECT 'pg_namespace'::regclass, oid, nspowner, 'o' FROM pg_namespace
    WHERE oid >= 16384 AND nspowner = 10 AND nspname !~ '^pg_'
  UNION ALL SELECT 'pg_proc'::regclass, oid, proowner, 'o' FROM pg_proc WHERE oid >= 16384 AND proowner = 10
  UNION ALL SELECT 'pg_publication'::regclass, oid, pubowner, 'o' FROM pg_publication WHERE pubowner = 10
  UNION ALL SELECT 'pg_event_trigger'::regclass, oid, evtowner, 'o' FROM pg_event_trigger WHERE evtowner = 10
  UNION ALL SELECT 'pg_foreign_server'::regclass, oid, srvowner, 'o' FROM pg_foreign_server WHERE srvowner = 10
  UNION ALL SELECT 'pg_largeobject'::regclass, oid, lomowner, 'o' FROM pg_largeobject_metadata WHERE lomowner = 10
"""
_OWN_OBJECTS = f"""
  SELECT DISTINCT classid, objid, role, deptype FROM ({_OBJECTS}) o
    WHERE role <> 0 AND classid <> 'pg_extension'::regclass
      AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.classid = o.classid AND d.objid = o.objid AND d.deptype = 'e')
      AND NOT (classid = 'pg_class'::regclass AND objid IN
               (SELECT oid FROM pg_class WHERE relname = 'toombos_restore'))
"""  # noqa: S608  (constants of this module)

NEEDS = f"""
SELECT json_build_object(
  'owners', (SELECT coalesce(json_agg(DISTINCT rolname), '[]') FROM ({_OWN_OBJECTS}) n JOIN pg_roles r ON r.oid = role
             WHERE deptype = 'o' AND rolname !~ '^pg_'),
  'grantees', (SELECT coalesce(json_agg(DISTINCT rolname), '[]') FROM ({_OWN_OBJECTS}) n JOIN pg_roles r ON r.oid = role
               WHERE deptype = 'a' AND rolname !~ '^pg_'),
  'extensions', (SELECT coalesce(json_agg(extname ORDER BY extname), '[]') FROM pg_extension WHERE extname <> 'plpgsql')
);
"""  # noqa: S608  (constants of this module)


class Needs(msgspec.Struct, frozen=True, kw_only=True):
    """What a dump needs on the server that it is restored to: roles, as owners and as grantees, and extensions."""

    owners: tuple[str, ...] = ()
    grantees: tuple[str, ...] = ()
    extensions: tuple[str, ...] = ()


class MissingOnServer(msgspec.Struct, frozen=True, kw_only=True):
    """What a server lacks for a restore by this role, and which live objects the role may not drop."""

    role: str
    database: str
    roles: tuple[str, ...]
    not_owned: tuple[str, ...]
    extensions: tuple[str, ...]
    foreign: tuple[str, ...]
    kept: tuple[str, ...]
    """The extensions that stay, because they are there already or belong to another role."""

    @property
    def reasons(self) -> tuple[str, ...]:
        """What has to be put right, one reason a line."""
        found = []
        if self.roles:
            found.append(f"the server has no role {_listed(self.roles)}")
        if self.not_owned:
            found.append(f"role {self.role} is no member of {_listed(self.not_owned)}, who own objects of the dump")
        if self.extensions:
            found.append(f"role {self.role} cannot create the extension {_listed(self.extensions)}")
        if self.foreign:
            found.append(f"role {self.role} does not own {_listed(self.foreign)}")
        return tuple(found)

    @property
    def remedy(self) -> str:
        """The SQL that a superuser runs so that nothing is missing any more, as far as there is any."""
        lines = [f'CREATE ROLE "{role}";' for role in self.roles]
        lines += [f'GRANT "{owner}" TO "{self.role}";' for owner in self.not_owned]
        lines += [f'CREATE EXTENSION "{name}";' for name in self.extensions]
        return " ".join(lines)


def missing_query(needs: Mapping[str, Any]) -> str:
    """Return the query for a MissingOnServer."""
    literal = msgspec.json.encode(needs).decode().replace("'", "''")
    return f"""
WITH needs AS (SELECT '{literal}'::json AS j),
  me AS (SELECT oid, rolname, rolsuper FROM pg_roles WHERE rolname = current_user),
  owner AS (SELECT json_array_elements_text(j -> 'owners') AS name FROM needs),
  named AS (SELECT name FROM owner UNION SELECT json_array_elements_text(j -> 'grantees') FROM needs),
  extension AS (SELECT json_array_elements_text(j -> 'extensions') AS name FROM needs)
SELECT json_build_object(
  'role', current_user, 'database', current_database(),
  'roles', (SELECT coalesce(json_agg(name), '[]') FROM named WHERE name NOT IN (SELECT rolname FROM pg_roles)),
  'not_owned', (SELECT coalesce(json_agg(name), '[]') FROM owner JOIN pg_roles r ON r.rolname = name, me
                WHERE NOT (me.rolsuper OR pg_has_role(me.oid, r.oid, 'MEMBER'))),
  'extensions', (SELECT coalesce(json_agg(name), '[]') FROM extension, me
                 WHERE name NOT IN (SELECT extname FROM pg_extension) AND NOT EXISTS
                   (SELECT FROM pg_available_extension_versions v
                    WHERE v.name = extension.name AND (me.rolsuper OR v.trusted OR NOT v.superuser))),
  'foreign', (SELECT coalesce(json_agg(DISTINCT pg_describe_object(classid, objid, 0)), '[]')
              FROM ({_OWN_OBJECTS}) o, me
              WHERE deptype = 'o' AND NOT (me.rolsuper OR pg_has_role(me.oid, role, 'MEMBER'))),
  'kept', (SELECT coalesce(json_agg(extname), '[]') FROM pg_extension e, me
           WHERE extname <> 'plpgsql' AND ((extname IN (SELECT name FROM extension) AND extconfig IS NULL)
             OR NOT (me.rolsuper OR pg_has_role(me.oid, e.extowner, 'MEMBER'))))
);
"""  # noqa: S608  (a quoted literal and constants of this module)


def drop_all(kept: tuple[str, ...]) -> str:
    """Return the SQL that empties the database of everything but these extensions and what only a superuser has."""
    names = ", ".join("'" + name.replace("'", "''") + "'" for name in ("plpgsql", *kept))
    return _DROP_ALL.replace("@KEPT@", names)


_DROP_ALL = """
DO $toombos$
DECLARE
  row record; one record; kind text; place text; what text; may boolean;
  kept constant name[] := ARRAY[@KEPT@]::name[];
BEGIN
  FOR row IN SELECT extname FROM pg_extension WHERE extname <> ALL (kept)
  LOOP EXECUTE format('DROP EXTENSION IF EXISTS %I CASCADE', row.extname);
  END LOOP;
  FOR row IN
    SELECT d.oid, r.rolname, n.nspname, defaclrole, defaclacl,
      CASE defaclobjtype WHEN 'r' THEN 'TABLES' WHEN 'S' THEN 'SEQUENCES' WHEN 'f' THEN 'FUNCTIONS'
        WHEN 'T' THEN 'TYPES' WHEN 'n' THEN 'SCHEMAS' WHEN 'L' THEN 'LARGE OBJECTS' END AS kind
    FROM pg_default_acl d JOIN pg_roles r ON r.oid = defaclrole LEFT JOIN pg_namespace n ON n.oid = defaclnamespace
  LOOP
    place := format('ALTER DEFAULT PRIVILEGES FOR ROLE %I ', row.rolname)
      || CASE WHEN row.nspname IS NULL THEN '' ELSE format('IN SCHEMA %I ', row.nspname) END;
    FOR one IN SELECT DISTINCT a.grantee, g.rolname FROM aclexplode(row.defaclacl) a
      LEFT JOIN pg_roles g ON g.oid = a.grantee
    LOOP
      what := CASE WHEN one.grantee = 0 THEN 'PUBLIC' ELSE format('%I', one.rolname) END;
      EXECUTE place || format('REVOKE ALL ON %s FROM %s', row.kind, what);
    END LOOP;
    IF row.nspname IS NULL THEN
      EXECUTE place || format('GRANT ALL ON %s TO %I', row.kind, row.rolname);
      IF row.kind IN ('FUNCTIONS', 'TYPES') THEN
        EXECUTE place || format('GRANT ALL ON %s TO PUBLIC', row.kind);
      END IF;
    END IF;
  END LOOP;
  FOR row IN
    SELECT classid, objid FROM (
      SELECT 'pg_publication'::regclass::oid AS classid, oid AS objid FROM pg_publication
      UNION ALL SELECT 'pg_event_trigger'::regclass, oid FROM pg_event_trigger
      UNION ALL SELECT 'pg_foreign_server'::regclass, oid FROM pg_foreign_server
      UNION ALL SELECT 'pg_foreign_data_wrapper'::regclass, oid FROM pg_foreign_data_wrapper
      UNION ALL SELECT 'pg_cast'::regclass, oid FROM pg_cast WHERE oid >= 16384
      UNION ALL SELECT 'pg_language'::regclass, oid FROM pg_language WHERE oid >= 16384
    ) o
    WHERE NOT EXISTS (SELECT FROM pg_depend d WHERE d.classid = o.classid AND d.objid = o.objid AND d.deptype = 'e')
  LOOP
    SELECT replace(type, '-', ' '), identity INTO kind, what FROM pg_identify_object(row.classid, row.objid, 0);
    IF what IS NOT NULL THEN EXECUTE format('DROP %s IF EXISTS %s CASCADE', kind, what); END IF;
  END LOOP;
  PERFORM lo_unlink(oid) FROM pg_largeobject_metadata;
  FOR row IN SELECT oid, nspname FROM pg_namespace WHERE nspname !~ '^pg_' AND nspname <> 'information_schema'
  LOOP
    may := row.nspname <> 'public' AND NOT EXISTS (SELECT FROM pg_extension WHERE extnamespace = row.oid) AND NOT EXISTS
      (SELECT FROM pg_depend WHERE classid = 'pg_namespace'::regclass AND objid = row.oid AND deptype = 'e');
    IF may THEN
      EXECUTE format('DROP SCHEMA %I CASCADE', row.nspname);
      CONTINUE;
    END IF;
    FOR one IN
      SELECT classid, objid FROM pg_depend o
      WHERE refclassid = 'pg_namespace'::regclass AND refobjid = row.oid AND deptype = 'n'
        AND classid NOT IN ('pg_extension'::regclass, 'pg_default_acl'::regclass, 'pg_publication_namespace'::regclass)
        AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.classid = o.classid AND d.objid = o.objid AND d.deptype = 'e')
    LOOP
      CONTINUE WHEN NOT EXISTS (SELECT FROM pg_depend WHERE classid = one.classid AND objid = one.objid);
      SELECT CASE type WHEN 'composite type' THEN 'type' WHEN 'statistics object' THEN 'statistics' ELSE type END,
        identity INTO kind, what FROM pg_identify_object(one.classid, one.objid, 0);
      EXECUTE format('DROP %s IF EXISTS %s CASCADE', kind, what);
    END LOOP;
  END LOOP;
  IF to_regnamespace('public') IS NULL THEN CREATE SCHEMA public; END IF;
  IF (SELECT rolsuper FROM pg_roles WHERE rolname = current_user)
      OR pg_has_role((SELECT nspowner FROM pg_namespace WHERE nspname = 'public'), 'MEMBER') THEN
    FOR one IN SELECT DISTINCT a.grantee, g.rolname FROM pg_namespace n, aclexplode(n.nspacl) a
      LEFT JOIN pg_roles g ON g.oid = a.grantee WHERE n.nspname = 'public' AND a.grantee <> n.nspowner
    LOOP
      what := CASE WHEN one.grantee = 0 THEN 'PUBLIC' ELSE format('%I', one.rolname) END;
      EXECUTE format('REVOKE ALL ON SCHEMA public FROM %s CASCADE', what);
    END LOOP;
    IF current_setting('server_version_num')::int >= 150000 THEN
      ALTER SCHEMA public OWNER TO pg_database_owner;
      GRANT USAGE ON SCHEMA public TO PUBLIC;
    ELSE
      GRANT ALL ON SCHEMA public TO PUBLIC;
    END IF;
  END IF;
END $toombos$;
"""


def _listed(names: tuple[str, ...]) -> str:
    shown = ", ".join(names[:5])
    return shown if len(names) <= 5 else f"{shown} and {len(names) - 5} more"
