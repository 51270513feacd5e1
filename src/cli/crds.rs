//! Prints the CustomResourceDefinitions, for `crds/` and for the chart.

use std::io::Write;

use anyhow::Context;

/// Writes both definitions as YAML documents.
pub(super) fn print(mut out: impl Write) -> anyhow::Result<()> {
    for crd in vpce_core::api::crds() {
        let text = serde_saphyr::to_string(&crd).context("cannot write a CRD as YAML")?;
        writeln!(out, "---\n{}", text.trim_end()).context("cannot print the CRDs")?;
    }
    Ok(())
}
