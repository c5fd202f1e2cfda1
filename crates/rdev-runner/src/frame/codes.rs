//! Codes of the parts of a frame.

use bytes::{Buf, Bytes};

use super::{CutReason, EXIT_BYTES, End, Ended, Exit, Loss, StopCause, Stream};

impl Exit {
    pub(super) fn to_bytes(self) -> [u8; EXIT_BYTES] {
        let (how, value) = match self.ended {
            Ended::Exited(code) => (0, code),
            Ended::Signaled(signal) => (1, signal),
            Ended::SpawnFailed(errno) => (2, errno),
            Ended::OomKilled(code) => (3, code),
        };
        let mut out = [0_u8; EXIT_BYTES];
        out[0] = how;
        out[1] = match self.cause {
            StopCause::None => 0,
            StopCause::Timeout => 1,
            StopCause::Cancelled => 2,
        };
        out[2..6].copy_from_slice(&value.to_le_bytes());
        out[6..14].copy_from_slice(&self.duration_us.to_le_bytes());
        out[14..18].copy_from_slice(&self.leftovers.to_le_bytes());
        out
    }

    pub(super) fn from_bytes(mut bytes: Bytes) -> Option<Self> {
        let (how, cause) = (bytes.get_u8(), bytes.get_u8());
        let value = bytes.get_i32_le();
        Some(Self {
            ended: match how {
                0 => Ended::Exited(value),
                1 => Ended::Signaled(value),
                2 => Ended::SpawnFailed(value),
                3 => Ended::OomKilled(value),
                _ => return None,
            },
            cause: match cause {
                0 => StopCause::None,
                1 => StopCause::Timeout,
                2 => StopCause::Cancelled,
                _ => return None,
            },
            duration_us: bytes.get_u64_le(),
            leftovers: bytes.get_u32_le(),
        })
    }
}

impl Stream {
    pub(super) fn code(self) -> u8 {
        match self {
            Self::Stdout => 1,
            Self::Stderr => 2,
        }
    }

    pub(super) fn from_code(code: u8) -> Option<Self> {
        match code {
            1 => Some(Self::Stdout),
            2 => Some(Self::Stderr),
            _ => None,
        }
    }
}

impl End {
    pub(super) fn code(self) -> u8 {
        match self {
            Self::Newline => 0,
            Self::Partial => 1,
            Self::Eof => 2,
        }
    }

    pub(super) fn from_code(code: u8) -> Option<Self> {
        match code {
            0 => Some(Self::Newline),
            1 => Some(Self::Partial),
            2 => Some(Self::Eof),
            _ => None,
        }
    }
}

impl CutReason {
    pub(super) fn code(self) -> u8 {
        match self {
            Self::SizeLimit => 1,
            Self::DiskFull => 2,
            Self::Damaged => 3,
            Self::Lost => 4,
        }
    }

    pub(super) fn from_code(code: u8) -> Option<Self> {
        match code {
            1 => Some(Self::SizeLimit),
            2 => Some(Self::DiskFull),
            3 => Some(Self::Damaged),
            4 => Some(Self::Lost),
            _ => None,
        }
    }
}

impl Loss {
    pub(super) fn code(self) -> u8 {
        match self {
            Self::Supervisor => 0,
            Self::Journal => 1,
            Self::Beside => 2,
        }
    }

    pub(super) fn from_code(code: u8) -> Option<Self> {
        match code {
            0 => Some(Self::Supervisor),
            1 => Some(Self::Journal),
            2 => Some(Self::Beside),
            _ => None,
        }
    }
}
