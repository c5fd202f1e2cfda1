//! Values that no log and no `Debug` output shows.

/// A secret text.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(pub String);

/// The key from which signing and encrypting keys are derived.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct MasterKey(pub [u8; 32]);

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secret")
    }
}

impl std::fmt::Debug for MasterKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("MasterKey")
    }
}
