//! Placeholder until the first floor lands.
