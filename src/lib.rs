//! vpce-operator.
