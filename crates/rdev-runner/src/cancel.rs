//! Requests the end of a command from the supervisor of its run.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;

use crate::fault::Fault;
use crate::folder::{RunId, Runs};
use crate::frame::Header;
use crate::journal::Reader;
use crate::orphans;
use crate::out::say;
use crate::supervisor::CANCEL;

/// Number of attempts to reach a supervisor that drops connections before it answers.
const ATTEMPTS: usize = 3;

pub(crate) fn cancel(runs: &Runs, id: &RunId) -> Result<(), Fault> {
    let cannot = |error| Fault::io(format!("cannot cancel \"{id}\""), error);
    let Some(run) = runs.find(id)? else {
        if !runs.run(id).was_started().map_err(cannot)? {
            return Err(Fault::unknown_id(id));
        }
        orphans::end(runs, id)?;
        return Err(Fault::lost(id));
    };
    for _ in 0..ATTEMPTS {
        let Some(supervisor) = run.connect().map_err(cannot)? else {
            break;
        };
        if asked(supervisor) {
            return say("cancelling\n").map_err(cannot);
        }
    }
    let mut reader = Reader::new(run.open_journal()?);
    reader.settle();
    match reader.seek(Header::is_exit).map_err(cannot)? {
        Some(_) => say("finished\n").map_err(cannot),
        None => {
            orphans::end(runs, id)?;
            Err(Fault::lost(id))
        }
    }
}

/// Returns true when the supervisor has accepted the request.
fn asked(mut supervisor: UnixStream) -> bool {
    let mut answer = [0; 64];
    if supervisor.write_all(&[CANCEL]).is_err() {
        return false;
    }
    loop {
        match supervisor.read(&mut answer) {
            Ok(0) | Err(_) => return false,
            Ok(n) if answer[..n].contains(&CANCEL) => return true,
            Ok(_) => {}
        }
    }
}
