//! Decisions, pure: no socket, no clock, no file, no log. What a handshake needs to know is an argument, the answer is a value.

pub mod bucket;
pub mod cap;
pub mod client_ip;
pub mod key;
pub mod origin;
pub mod zone;
