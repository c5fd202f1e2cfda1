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

run       starts the command if the id is new, then follows its output to the end; a known id is only followed
attach    follows a run
cancel    sends SIGTERM to the command and all its descendants, then SIGKILL
list      prints every run, sorted by id
gc        --id removes the output of a finished run, keeps its exit entry, and marks the run as collected;
          --older-than removes collected runs that ended longer ago
drain     returns when no run is running and every run is collected, or this time after the last end
collect   sends the files in a folder that match a pattern, at most 256 files and 16 MiB in total, and
          reports those that it omits
identity  creates the folder of runs if it is missing, and prints protocol version, folder, the folder's
          identity, and further facts as NAME=VALUE; --instead-of replaces that identity with one of NAME
exec      executes the program with this umask and this soft limit of open files

  --runs DIR           folder of runs (default: $RDEV_RUNS_DIR, else /run/rdev)
  --identity IDENTITY  fail unless the folder has this identity (not for run and identity)
  --id ID              1 to 128 of A-Z a-z 0-9 . _ - and the first neither . nor -
  --after SEQ          only events after this sequence number (default: 0, all events)
  --text               plain output and the command's own exit code instead of frames

  --cwd DIR            working directory of the command; folder of the files
  --env NAME=VALUE     variable of the command; can be repeated
  --timeout SECONDS    stop the command after this time (0.5 is accepted; default: 0, none)
  --grace SECONDS      time between SIGTERM and SIGKILL (default: 5)
  --journal-max BYTES  approximate limit of stored output (default: 0, none); output over the limit is announced
  --stdin              pass standard input to the command (default: no input)
  --interrupt          stop with SIGINT to the command first, SIGTERM after half the grace time
  --within NAME        prefix of a new identity, followed by a dot
  --instead-of ID      replace this identity, whose pod is gone; the runs in the folder stay
  --wait SECONDS       (default: 120)
  --uncollected        only the ids of ended runs that are not marked as collected
  --limit COUNT        most ids to print
  --umask MODE         octal; permission bits that the program's new files do not get
  --open-files COUNT   soft limit of the program's open files
  --request-stdin      wait for id, sequence number, mode, identity and command on standard input, in the
                       library's format; exit when the input ends without a request
  --arguments-stdin    last argument: read the rest from standard input, in the library's format

Exit codes: 0 the end was delivered (--text: the command's own code, 128 + signal, 124 for a timeout);
64 wrong usage; 66 unknown id; 67 the supervisor is gone without an exit entry; 68 the request names another
folder of runs; 69 another living pod uses the folder; 70 the runner failed, standard error has the reason;
73 the runner failed before it started anything; 75 a run of the previous pod still runs in the folder.
";
