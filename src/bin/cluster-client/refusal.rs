//! Errors of the argument parser. They quote what was typed, so it is masked and escaped before.

use clap::builder::StyledStr;
use clap::error::{ContextKind, ContextValue};
use cluster_client::Printable;

/// The same error without passwords and control characters. Everything that was typed is in its context; the
/// usage is not, and has lines of its own.
pub(crate) fn masked(mut error: clap::Error) -> clap::Error {
    let context = error.context().filter(|(kind, _)| *kind != ContextKind::Usage);
    let masked: Vec<_> = context.map(|(kind, value)| (kind, masked_value(value))).collect();
    for (kind, value) in masked {
        error.insert(kind, value);
    }
    error
}

fn masked_value(value: &ContextValue) -> ContextValue {
    match value {
        ContextValue::String(text) => ContextValue::String(masked_text(text)),
        ContextValue::Strings(texts) => ContextValue::Strings(texts.iter().map(|text| masked_text(text)).collect()),
        ContextValue::StyledStr(text) => ContextValue::StyledStr(masked_style(text)),
        ContextValue::StyledStrs(texts) => ContextValue::StyledStrs(texts.iter().map(masked_style).collect()),
        other => other.clone(),
    }
}

fn masked_text(text: &str) -> String {
    Printable::masked(text).to_string()
}

/// Text that has to be masked loses its style.
fn masked_style(text: &StyledStr) -> StyledStr {
    let plain = text.to_string();
    let masked = masked_text(&plain);
    if masked == plain { text.clone() } else { masked.into() }
}
