//! The text of `--help`.

pub(super) const TEXT: &str = "\
rdev-runner: runs a command under a detached supervisor and journals its output

  rdev-runner run --id ID [--after SEQ] [--text] [OPTIONS] -- COMMAND [ARGUMENT]...
  rdev-runner run --request-stdin [--text]
  rdev-runner attach --id ID [--after SEQ] [--text]
  rdev-runner cancel --id ID
  rdev-runner list [--uncollected [--limit COUNT]]
  rdev-runner gc [--id ID]... [--older-than SECONDS]
  rdev-runner drain [--wait SECONDS]
  rdev-runner collect --cwd DIR -- PATTERN...
  rdev-runner identity [--within NAME [--instead-of IDENTITY]]
  rdev-runner exec [--umask MODE] [--open-files COUNT] -- PROGRAM [ARGUMENT]...

run starts the command if its id is new and follows its output to the end; with an id that
was used before it only follows. attach follows. cancel sends SIGTERM to the command and all
that it started, then SIGKILL. list shows every run, in the order of ids. gc --id drops the output
of a finished run, keeps how it ended, and marks it as collected; gc --older-than removes collected
runs that ended longer ago. drain returns when no run is running and each was collected, or this time after
the last end. collect sends the
files in a folder that fit a pattern, 256 of 16 MiB in all at most, and says what it leaves out. identity
makes the folder of runs if it is missing, and prints protocol version, folder, the folder's identity, and
what else there is to know as NAME=VALUE; with --instead-of a folder of that identity gets one of NAME.
exec becomes the program, with this umask and this soft limit of open files.

  --runs DIR           where runs are kept (default: $RDEV_RUNS_DIR, else /run/rdev)
  --identity IDENTITY     do nothing unless the folder has this identity (not for run and identity)
  --id ID              1 to 128 of A-Z a-z 0-9 . _ - and the first neither . nor -
  --after SEQ          only what comes after this sequence number (default: 0, everything)
  --text               plain output and the command's own exit code instead of frames

  --cwd DIR            working directory of the command; folder of the files
  --env NAME=VALUE     a variable for the command; can be repeated
  --timeout SECONDS    stop the command after this time (0.5 is accepted)
  --grace SECONDS      time between SIGTERM and SIGKILL (default: 5)
  --journal-max BYTES  keep at most about this much output, announce what is left out
  --stdin              all of standard input is the command's input (default: none)
  --interrupt          stop with SIGINT to the command first, SIGTERM after half the grace
  --within NAME        begin a new folder's identity with this and a dot
  --instead-of ID      give a folder of this identity, whose pod is gone, a new one; the runs in it stay
  --wait SECONDS       (default: 120)
  --uncollected        only the ids of runs that are over and not marked as collected
  --limit COUNT        so many ids at most
  --umask MODE         octal; bits that the program's new files do not get
  --open-files COUNT   soft limit of the program's open files
  --request-stdin        wait for id, folder's identity, sequence number and command on standard input, in the
                       form of the library; without any, end
  --arguments-stdin    the last one: read the rest of the arguments from standard input, in the library's form

Exit codes: 0 the end was delivered (--text: the command's own code, 128 + signal, 124 for a
timeout); 64 wrong usage; 66 unknown id; 67 the supervisor is gone without an exit entry;
68 an order for another folder of runs; 69 the folder is shared with another pod that lives; 70 the runner failed and says why; 73 the same, and this call
has started nothing; 75 a run of the pod before still runs in the folder.
";
