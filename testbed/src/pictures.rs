//! The pictures of the dashboards in the docs: drawn from what a real Prometheus saw of the real
//! operator in a scripted hour.

use std::fs;
use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use serde_json::json;

use crate::bench::hour::Watched;
use crate::child::Scratch;
use crate::dashboards::Dashboard;
use crate::operator::{self, project};
use crate::python;

/// The hour takes three minutes of ours.
const TIME_SCALE: f64 = 20.0;
const FOLDER: &str = "docs/dashboards";

/// Plays the hour and draws all dashboards.
///
/// # Errors
/// When something does not start or happen, or the pictures cannot be drawn.
pub fn draw() -> Result<()> {
    let binary = operator::binary()?;
    let python = python::drawing_interpreter()?;
    let watched = Watched::play(&binary, TIME_SCALE)?;
    let before = watched.begun.duration_since(watched.span.start)?.as_secs_f64() * TIME_SCALE / 60.0;
    let mut results = Vec::new();
    for dashboard in Dashboard::all()? {
        let mut of_dashboard = dashboard.with_results(&watched.prometheus, &watched.span)?;
        of_dashboard["scale"] = json!(TIME_SCALE);
        // Minutes from the first scrape to the hour's begin.
        of_dashboard["before"] = json!(before);
        results.push(of_dashboard);
    }
    let scratch = Scratch::new("pictures")?;
    let results = scratch.write("results.json", serde_json::to_string(&results)?)?;
    let folder = project(FOLDER);
    fs::create_dir_all(&folder)?;
    let script = project("testbed/python/draw_dashboards.py");
    let status = Command::new(python)
        .arg(script)
        .args([&results, &folder])
        .status()
        .context("cannot start Python")?;
    ensure!(
        status.success(),
        "the pictures are not drawn; the results are in {}",
        results.display()
    );
    println!("drawn: {}", folder.display());
    Ok(())
}
