//! What several gateways count together.

pub mod breaker;
