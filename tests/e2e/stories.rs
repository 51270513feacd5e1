//! Random stories: users, platform teams, people in AWS and fate act as they like, and what was
//! promised holds all the time; in the end everything is as the last manifests say.
//!
//! A story is a sequence of acts on a tenant of its own; they share a world, in which they run
//! side by side. Each has a number, from which all of it follows: `VPCE_STORIES_FROM=17
//! VPCE_STORIES=1` runs number 17 again, `VPCE_STORIES=200` so many of them. What fails is cut
//! down to the acts that it takes, and printed.

mod always;
mod atrest;
mod model;
mod scene;

use std::fmt::Display;
use std::str::FromStr;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::thread;
use std::time::Instant;

use parking_lot::Mutex;
use proptest::test_runner::{Config, RngAlgorithm, TestError, TestRng, TestRunner};
use proptest_state_machine::{ReferenceStateMachine, StateMachineTest};

use model::Stories;
use scene::Story;

/// So many are run unless `VPCE_STORIES` says otherwise.
const STORIES: u64 = 24;
/// So many at once: most of the time they wait.
const SIDE_BY_SIDE: usize = 6;
/// How often, and for how long, a failing story is run again to find out what it takes.
const MOST_TRIES: u32 = 60;
const TRY_FOR_MILLISECONDS: u32 = 300_000;
/// No more are run once so many have failed.
const ENOUGH_FAILURES: usize = 3;

fn setting<T: FromStr<Err: Display>>(name: &str, default: T) -> T {
    std::env::var(name).map_or(default, |text| {
        text.parse().unwrap_or_else(|error| panic!("{name}: {error}"))
    })
}

/// Runs a story, and says how it fails if it does.
fn tell(number: u64, acts: &AtomicUsize) -> Result<(), String> {
    let mut seed = [0; 32];
    seed[..8].copy_from_slice(&number.to_le_bytes());
    let config = Config {
        cases: 1,
        failure_persistence: None,
        max_shrink_iters: MOST_TRIES,
        max_shrink_time: TRY_FOR_MILLISECONDS,
        ..Config::default()
    };
    let mut runner = TestRunner::new_with_rng(config.clone(), TestRng::from_seed(RngAlgorithm::ChaCha, &seed));
    let strategy = Stories::sequential_strategy(10..=20);
    let outcome = runner.run(&strategy, |(model, story, seen)| {
        acts.fetch_add(story.len(), Ordering::Relaxed);
        Story::test_sequential(config.clone(), model, story, seen);
        Ok(())
    });
    match outcome {
        Ok(()) => Ok(()),
        Err(TestError::Abort(reason)) => Err(format!("story {number}: {reason}")),
        Err(TestError::Fail(reason, (_, story, _))) => {
            let story: Vec<String> = story
                .iter()
                .enumerate()
                .map(|(number, act)| format!("{:3}. {act}", number + 1))
                .collect();
            Err(format!(
                "story {number} goes wrong; this is what it takes:\n{}\n\n{reason}",
                story.join("\n")
            ))
        }
    }
}

#[test]
fn whatever_happens_the_promises_hold_and_the_end_is_as_specified() {
    let first = setting("VPCE_STORIES_FROM", 1);
    let end = first + setting("VPCE_STORIES", STORIES);
    let (next, acts) = (AtomicU64::new(first), AtomicUsize::new(0));
    let failures = Mutex::new(Vec::new());
    scene::world();
    let began = Instant::now();
    thread::scope(|scope| {
        for _ in 0..SIDE_BY_SIDE {
            scope.spawn(|| {
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    if number >= end || failures.lock().len() >= ENOUGH_FAILURES {
                        return;
                    }
                    if let Err(failure) = tell(number, &acts) {
                        eprintln!("{failure}\n");
                        failures.lock().push(failure);
                    }
                }
            });
        }
    });
    let told = next.load(Ordering::Relaxed).min(end) - first;
    println!(
        "{told} stories, {} acts, {:.0} s",
        acts.load(Ordering::Relaxed),
        began.elapsed().as_secs_f64()
    );
    let failures = failures.into_inner();
    assert!(
        failures.is_empty(),
        "{} stories go wrong:\n\n{}",
        failures.len(),
        failures.join("\n\n")
    );
}
