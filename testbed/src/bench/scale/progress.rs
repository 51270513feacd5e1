//! How far the operator is, and what it has taken so far: from its log and from `/proc`, which cost
//! it nothing.

use std::collections::HashSet;
use std::fs::File;
use std::io::{BufRead as _, BufReader, Seek as _, SeekFrom};
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use serde_json::Value;

use crate::bench::bed::Bed;
use crate::operator::Operator;

/// How often CPU time is read to find out whether the operator is idle.
const SAMPLE: Duration = Duration::from_millis(500);
/// It is, when it takes less than this of a core for so many samples.
const IDLE: f64 = 0.05;
const IDLE_SAMPLES: usize = 8;
const IDLE_WITHIN: Duration = Duration::from_secs(1800);

/// What the operator logs from one moment on, in JSON.
pub(super) struct Log {
    file: BufReader<File>,
    /// A line whose end has not been written yet.
    line: String,
}

impl Log {
    pub(super) fn at_its_end(operator: &Operator) -> Result<Self> {
        let mut file = File::open(operator.log())?;
        file.seek(SeekFrom::End(0))?;
        Ok(Self {
            file: BufReader::new(file),
            line: String::new(),
        })
    }

    /// The lines since it was last asked.
    pub(super) fn lines(&mut self) -> Result<Vec<Value>> {
        let mut lines = Vec::new();
        loop {
            self.file.read_line(&mut self.line)?;
            if !self.line.ends_with('\n') {
                return Ok(lines);
            }
            lines.extend(serde_json::from_str(&self.line));
            self.line.clear();
        }
    }
}

/// What the way of all endpoints to Ready has taken.
pub(super) struct Progress {
    log: Log,
    begun: Instant,
    cpu_before: f64,
    ready: HashSet<(String, String)>,
    samples: Vec<Sample>,
}

/// At one moment: how many endpoints were Ready, and the CPU time until then.
#[derive(Clone, Copy)]
struct Sample {
    ready: f64,
    cpu: f64,
    seconds: f64,
}

impl Progress {
    pub(super) fn begin(operator: &Operator) -> Result<Self> {
        Ok(Self {
            log: Log::at_its_end(operator)?,
            begun: Instant::now(),
            cpu_before: operator.cpu_seconds()?,
            ready: HashSet::new(),
            samples: Vec::new(),
        })
    }

    /// How many endpoints have become Ready.
    pub(super) fn look(&mut self, operator: &Operator) -> Result<usize> {
        for line in self.log.lines()? {
            if let (true, Some(namespace), Some(name)) =
                (line["ready"] == true, line["namespace"].as_str(), line["name"].as_str())
            {
                self.ready.insert((namespace.to_owned(), name.to_owned()));
            }
        }
        self.samples.push(Sample {
            ready: self.ready.len() as f64,
            cpu: operator.cpu_seconds()? - self.cpu_before,
            seconds: self.begun.elapsed().as_secs_f64(),
        });
        Ok(self.ready.len())
    }

    /// Since the beginning, until it was last looked at.
    pub(super) fn seconds(&self) -> f64 {
        let last = self.samples.last().map(|sample| sample.seconds);
        last.unwrap_or_else(|| self.begun.elapsed().as_secs_f64())
    }

    /// CPU seconds since the beginning, until it was last looked at.
    pub(super) fn cpu(&self) -> f64 {
        self.samples.last().map_or(0.0, |sample| sample.cpu)
    }

    /// CPU seconds an endpoint while the Ready ones went from one share of all to another.
    pub(super) fn cpu_of(&self, all: usize, from: f64, to: f64) -> f64 {
        let all = all as f64;
        (cpu_at(&self.samples, to * all) - cpu_at(&self.samples, from * all)) / ((to - from) * all)
    }
}

/// The CPU time when so many were Ready, between the samples around it.
fn cpu_at(samples: &[Sample], ready: f64) -> f64 {
    let mut before = Sample {
        ready: 0.0,
        cpu: 0.0,
        seconds: 0.0,
    };
    for sample in samples {
        if sample.ready >= ready {
            let more = sample.ready - before.ready;
            let share = if more > 0.0 { (ready - before.ready) / more } else { 0.0 };
            return before.cpu + share * (sample.cpu - before.cpu);
        }
        before = *sample;
    }
    before.cpu
}

/// Waits until the operator takes no CPU time for some seconds; when that began.
pub(super) fn until_idle(bed: &Bed) -> Result<Instant> {
    let begun = Instant::now();
    let (mut since, mut cpu, mut idle) = (begun, bed.operator.cpu_seconds()?, 0);
    while idle < IDLE_SAMPLES {
        ensure!(begun.elapsed() < IDLE_WITHIN, "the operator is never idle");
        std::thread::sleep(SAMPLE);
        let now = bed.operator.cpu_seconds()?;
        if now - cpu < IDLE * SAMPLE.as_secs_f64() {
            idle += 1;
        } else {
            (since, idle) = (Instant::now(), 0);
        }
        cpu = now;
    }
    Ok(since)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cpu_time_between_two_samples_is_shared_out() {
        let sample = |ready, cpu| Sample {
            ready,
            cpu,
            seconds: 0.0,
        };
        let samples = [
            sample(0.0, 1.0),
            sample(0.0, 2.0),
            sample(10.0, 4.0),
            sample(20.0, 10.0),
        ];
        assert_eq!(cpu_at(&samples, 0.0), 0.0, "all since the beginning counts");
        assert_eq!(cpu_at(&samples, 5.0), 3.0);
        assert_eq!(cpu_at(&samples, 15.0), 7.0);
        assert_eq!(cpu_at(&samples, 20.0), 10.0);
    }
}
