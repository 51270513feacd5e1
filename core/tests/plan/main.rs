//! What planning promises: tables of cases, and laws that hold whatever is desired and whatever is
//! there.

mod adoption;
mod cases;
mod deletion;
mod ec2;
mod headless;
mod laws;
mod names;
mod observations;
mod refusals;
mod scenario;
mod services;
mod words;
