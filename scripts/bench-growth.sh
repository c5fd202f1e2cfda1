#!/usr/bin/env bash
# Measures an rdev that has grown beside an empty one, on SQLite and on Postgres, and prints the card of the machine and one table.
#
#   scripts/bench-growth.sh            10,000 projects, 1,000,000 finished jobs, a database of 20 GB, or of half of the free disk;
#                                      half an hour or more
#   scripts/bench-growth.sh --write    the same, and the table goes into docs/benchmarks.md
#   scripts/bench-growth.sh --small    40,000 jobs and 200 MB, a few minutes
#   scripts/bench-growth.sh --smoke    the smallest sizes, without optimization: tests this script
#   scripts/bench-growth.sh --jobs 100000 --projects 5000 --log-gb 2 --only sqlite
#
# A server runs four jobs: one with many lines, one of one line, a task, and one that prints 8 MB. The generator (crates/rdev-bench,
# growth/) copies them in SQL, with all of their entries: half of the commands belong to one project, the others are spread over all.
# The empty rdev has the same four jobs and copies for a full page and for retention. Figures, each in turn on both:
#   first pages   GET /projects/{id}/commands, GET /queue/tasks and GET /projects, without a cursor
#   replay        all events of the stream that was stored first, to `complete`
#   claim         of the only job that waits, at the port of the store
#   retention     entries a second that the removal of ended jobs removes, at the port of the store, with no pause between its steps
#
# Reading the table: `rdev` is the grown one, `beside` the empty one. Run it on an idle machine; the folder (TMPDIR) needs the disk.
# RDEV_API=program measures that program instead of building one; RDEV_BENCH=program measures with that one.
set -euo pipefail
cd "$(dirname "$0")/.."

# shellcheck source=scripts/lib/tools.sh
source scripts/lib/tools.sh
# shellcheck source=scripts/lib/postgres.sh
source scripts/lib/postgres.sh
# shellcheck source=scripts/lib/bench.sh
source scripts/lib/bench.sh
help_if_asked "$@"
begin_bench "$@"

need_programs python3:python3
trap 'stop_postgres; remove_bench_folder' EXIT
bench_folder
need_bench
need_api
start_bench_postgres
"$BENCH" growth --rdev "$API" --postgres "$RDEV_TEST_POSTGRES" --folder "$FOLDER" "${ABOUT[@]}" "$@"
