//! vpce-operator.
fn main() {}
