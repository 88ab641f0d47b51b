//! Placeholder until the first floor lands.

#[cfg(feature = "testing")]
pub mod testing;
