//! Prints the CustomResourceDefinitions, for `crds/` and for the chart.

use std::io::Write;

use anyhow::Context;

/// Writes both definitions as YAML documents, with the version of the operator that they are of.
pub(super) fn print(mut out: impl Write) -> anyhow::Result<()> {
    for mut crd in vpce_core::api::crds() {
        let labels = [
            ("app.kubernetes.io/name", "vpce-operator"),
            ("app.kubernetes.io/version", env!("CARGO_PKG_VERSION")),
        ];
        let labels = labels.map(|(key, value)| (key.to_owned(), value.to_owned()));
        crd.metadata.labels = Some(labels.into());
        let text = serde_saphyr::to_string(&crd).context("cannot write a CRD as YAML")?;
        writeln!(out, "---\n{}", text.trim_end()).context("cannot print the CRDs")?;
    }
    Ok(())
}
