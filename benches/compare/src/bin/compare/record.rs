//! The results as JSON.

use std::path::Path;

use serde_json::json;

use crate::Failure;
use crate::options::Options;
use crate::peers::REFERENCE;
use crate::results::Results;
use crate::setting::Setting;

pub(crate) fn write(path: &Path, options: &Options, setting: &Setting, results: &Results) -> Result<(), Failure> {
    let figures: Vec<serde_json::Value> = results
        .measured()
        .map(|(metric, client)| {
            let (name, delay_ms, hosts, unit) = metric.describe();
            let ratio = results.ratio(metric, client);
            json!({
                "metric": name,
                "unit": unit,
                "delay_ms": delay_ms,
                "hosts": hosts,
                "client": client,
                "median": results.median(metric, client),
                "rounds": results.rounds(metric, client).into_values().collect::<Vec<_>>(),
                "ratio": ratio.map(|ratio| ratio.median),
                "ratio_lowest": ratio.map(|ratio| ratio.lowest),
                "ratio_highest": ratio.map(|ratio| ratio.highest),
            })
        })
        .collect();
    let record = json!({
        "reference": REFERENCE,
        "quick": options.quick,
        "rounds": options.rounds,
        "seed": options.seed,
        "setting": setting.iter().map(|(name, value)| ((*name).to_owned(), json!(value))).collect::<serde_json::Map<_, _>>(),
        "failures": results.failures(),
        "notes": results.notes(),
        "figures": figures,
    });
    std::fs::write(path, format!("{record:#}\n"))?;
    Ok(())
}
