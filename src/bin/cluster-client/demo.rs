//! demo: stub.
use crate::args::Shared;
use crate::exit::{Exit, Stop};
pub(crate) fn play(_: &Shared) -> Result<Exit, Stop> {
    Err(Stop::unchanged("not yet"))
}
