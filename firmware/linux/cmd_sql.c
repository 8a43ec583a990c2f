// cmd_sql.c - `petrel sql`: the rules that make the two channels of a device private to it.
#include <stdio.h>

#include "commands.h"

static const char sql[] =
    "-- Petrel: rules for private channels, for the SQL editor of a Supabase project. Run them as "
    "often\n"
    "-- as you like. A device's token carries role petrel_device (or authenticated) and one "
    "claim,\n"
    "-- device; the rules compare it with the name of the channel. Source of the mechanism:\n"
    "-- supabase.com/docs/guides/realtime/authorization\n"
    "begin;\n"
    "\n"
    "do $$ begin\n"
    "  if not exists (select from pg_roles where rolname = 'petrel_device') then\n"
    "    create role petrel_device nologin noinherit;\n"
    "  end if;\n"
    "  if exists (select from pg_roles where rolname = 'authenticator') then\n"
    "    grant petrel_device to authenticator;\n"
    "  end if;\n"
    "end $$;\n"
    "grant usage on schema realtime to petrel_device;\n"
    "grant select, insert on realtime.messages to petrel_device;\n"
    "alter table realtime.messages enable row level security;\n"
    "\n"
    "-- The claim, or an empty string, which no channel matches.\n"
    "create or replace function public.petrel_device_claim() returns text\n"
    "language sql stable set search_path = '' as $$\n"
    "  select coalesce(nullif(current_setting('request.jwt.claims', true), '')::jsonb ->> "
    "'device', '')\n"
    "$$;\n"
    "grant execute on function public.petrel_device_claim() to petrel_device, authenticated;\n"
    "\n"
    "-- Uplink petrel:up:{device}: the device sends, and sees presence, never anyone's batches.\n"
    "drop policy if exists petrel_up_insert on realtime.messages;\n"
    "create policy petrel_up_insert on realtime.messages for insert to petrel_device, "
    "authenticated\n"
    "  with check (public.petrel_device_claim() <> '' and extension in ('broadcast', 'presence')\n"
    "    and realtime.topic() = 'petrel:up:' || public.petrel_device_claim());\n"
    "drop policy if exists petrel_up_select on realtime.messages;\n"
    "create policy petrel_up_select on realtime.messages for select to petrel_device, "
    "authenticated\n"
    "  using (public.petrel_device_claim() <> '' and extension = 'presence'\n"
    "    and realtime.topic() = 'petrel:up:' || public.petrel_device_claim());\n"
    "\n"
    "-- Downlink petrel:down:{device}: the device listens, only the service sends.\n"
    "drop policy if exists petrel_down_select on realtime.messages;\n"
    "create policy petrel_down_select on realtime.messages for select to petrel_device, "
    "authenticated\n"
    "  using (public.petrel_device_claim() <> '' and extension = 'broadcast'\n"
    "    and realtime.topic() = 'petrel:down:' || public.petrel_device_claim());\n"
    "\n"
    "-- The service (collectors, dashboards behind a server) sees and sends everything of Petrel.\n"
    "grant usage on schema realtime to service_role;\n"
    "grant select, insert on realtime.messages to service_role;\n"
    "drop policy if exists petrel_service_all on realtime.messages;\n"
    "create policy petrel_service_all on realtime.messages for all to service_role\n"
    "  using (realtime.topic() like 'petrel:%') with check (realtime.topic() like 'petrel:%');\n"
    "\n"
    "commit;\n"
    "-- Back: drop the four policies, public.petrel_device_claim() and the role petrel_device.\n";

int ptl_cmd_sql(int argc, char **argv)
{
    static const char help[] = "petrel sql\n"
                               "\n"
                               "Prints the policies on realtime.messages that the private channels "
                               "need: for the SQL editor\n"
                               "of a Supabase project, or for psql.\n";
    if (ptl_help_asked(argc, argv, help)) {
        return PTL_EXIT_OK;
    }
    if (argc > 1) {
        fputs(help, stderr);
        return PTL_EXIT_USAGE;
    }
    fputs(sql, stdout);
    return PTL_EXIT_OK;
}
