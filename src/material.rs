//! What the config names and the machine holds: keys, certificates, secrets. The only place that reads them.

/// The keys of one `[jwt.NAME]`, as they were read.
#[derive(Clone)]
pub enum KeyMaterial {
    /// The bytes of a shared secret.
    Secret(Vec<u8>),
    /// One public key as PEM.
    Pem(Vec<u8>),
    /// The text of a JSON Web Key Set.
    Jwks(String),
}
