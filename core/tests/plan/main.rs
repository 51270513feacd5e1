//! What planning promises: tables of cases, and laws that hold whatever is desired and whatever is there.

mod absence;
mod cases;
mod ec2;
mod facts;
mod laws;
mod refusals;
mod scenario;
mod services;
mod words;
