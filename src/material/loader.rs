//! Reads one thing that a key of the config names, and notes what is wrong with it under that key's path.

use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use rustls::pki_types::pem::{Error as PemError, PemObject};
use rustls::pki_types::{CertificateDer, CertificateRevocationListDer, PrivateKeyDer};

use super::seen::Seen;
use crate::config::file;
use crate::config::problem::Problem;
use crate::config::value::{Secret, Source};

/// The bit of a file's mode by which everybody may read it.
const READABLE_BY_OTHERS: u32 = 0o004;

/// Reads and remembers what went wrong, so that one thing that can't be read does not hide the next.
pub(super) struct Loader<'a> {
    base: &'a Path,
    env: &'a dyn Fn(&str) -> Option<String>,
    problems: Vec<Problem>,
    warnings: Vec<Problem>,
    seen: Seen,
}

impl<'a> Loader<'a> {
    pub(super) fn new(base: &'a Path, env: &'a dyn Fn(&str) -> Option<String>) -> Self {
        Self { base, env, problems: Vec::new(), warnings: Vec::new(), seen: Seen::default() }
    }

    /// The problems, the warnings, and the files that were read or should have been.
    pub(super) fn finish(self) -> (Vec<Problem>, Vec<Problem>, Seen) {
        (self.problems, self.warnings, self.seen)
    }

    pub(super) fn problem(&mut self, problem: Problem) {
        self.problems.push(problem);
    }

    /// The bytes of a secret, without the line end that editors and `echo` put behind it.
    pub(super) fn secret(&mut self, path: &str, Secret(source): &Secret) -> Option<Vec<u8>> {
        let mut bytes = self.source(path, source)?;
        if bytes.last() == Some(&b'\n') {
            bytes.pop();
            bytes.pop_if(|last| *last == b'\r');
        }
        if bytes.is_empty() {
            self.problem(Problem::new(path, "the secret is empty").help("anyone could sign with it"));
            return None;
        }
        if let Source::File(file) = source {
            self.warn_if_readable_by_others(path, file);
        }
        Some(bytes)
    }

    /// The bytes of a file or of a variable.
    pub(super) fn source(&mut self, path: &str, source: &Source) -> Option<Vec<u8>> {
        match source {
            Source::File(file) => self.file(path, file),
            Source::Env(name) => {
                let value = (self.env)(name);
                if value.is_none() {
                    self.problem(
                        Problem::new(path, format!("the environment variable `{name}` is not set"))
                            .help("set it for the gateway's process, or name a file as \"file:PATH\""),
                    );
                }
                value.map(String::into_bytes)
            }
        }
    }

    /// The same as text.
    pub(super) fn text(&mut self, path: &str, source: &Source) -> Option<String> {
        let bytes = self.source(path, source)?;
        let text = String::from_utf8(bytes).ok();
        if text.is_none() {
            self.problem(Problem::new(path, "what stands there is no text in UTF-8"));
        }
        text
    }

    /// The certificates of a PEM file, at least one.
    pub(super) fn certificates(&mut self, path: &str, file: &Path) -> Option<Vec<CertificateDer<'static>>> {
        self.all(path, file, ("certificate", "CERTIFICATE", "x509"))
    }

    /// The revocation lists of a PEM file, at least one.
    pub(super) fn revocation_lists(
        &mut self,
        path: &str,
        file: &Path,
    ) -> Option<Vec<CertificateRevocationListDer<'static>>> {
        self.all(path, file, ("revocation list", "X509 CRL", "crl"))
    }

    /// All the sections of one kind in a PEM file, at least one: what it is called, its label, and OpenSSL's command for it.
    fn all<T: PemObject>(&mut self, path: &str, file: &Path, kind: (&str, &str, &str)) -> Option<Vec<T>> {
        let (called, label, command) = kind;
        let bytes = self.file(path, file)?;
        let shown = self.resolve(file);
        let shown = shown.display();
        match T::pem_slice_iter(&bytes).collect::<Result<Vec<_>, _>>() {
            Ok(all) if !all.is_empty() => return Some(all),
            Ok(_) => {
                let help = if is_der(&bytes) {
                    format!("the file looks like DER: `openssl {command} -inform der -in FILE` prints it as PEM")
                } else {
                    format!("a PEM file is needed, with -----BEGIN {label}-----")
                };
                self.problem(Problem::new(path, format!("there is no {called} in `{shown}`")).help(help));
            }
            Err(error) => self.problem(Problem::new(path, format!("`{shown}` is no good PEM: {}", what(&error)))),
        }
        None
    }

    /// The first private key of a PEM file.
    pub(super) fn private_key(&mut self, path: &str, file: &Path) -> Option<PrivateKeyDer<'static>> {
        let bytes = self.file(path, file)?;
        self.warn_if_readable_by_others(path, file);
        let shown = self.resolve(file);
        let shown = shown.display();
        match PrivateKeyDer::from_pem_slice(&bytes) {
            Ok(key) => return Some(key),
            Err(PemError::NoItemsFound) => {
                self.problem(Problem::new(path, format!("there is no private key in `{shown}`")).help(
                    if holds(&bytes, b"BEGIN ENCRYPTED PRIVATE KEY") {
                        "it is encrypted: `openssl pkey -in FILE` asks for the passphrase and prints the key without"
                    } else if is_der(&bytes) {
                        "the file looks like DER: `openssl pkey -inform der -in FILE` prints it as PEM"
                    } else {
                        "a PEM file is needed, with -----BEGIN PRIVATE KEY-----"
                    },
                ))
            }
            Err(error) => self.problem(Problem::new(path, format!("`{shown}` is no good PEM: {}", what(&error)))),
        }
        None
    }

    fn file(&mut self, path: &str, file: &Path) -> Option<Vec<u8>> {
        let resolved = self.resolve(file);
        let shown = resolved.display();
        let read = file::read(&resolved);
        self.seen.note(&resolved, &read);
        let error = match read {
            Ok(bytes) => return Some(bytes),
            Err(error) => error,
        };
        self.problem(match error.kind() {
            io::ErrorKind::NotFound => {
                let problem = Problem::new(path, format!("there is no file `{shown}`"));
                if file.is_relative() { problem.help("paths are relative to this file's folder") } else { problem }
            }
            io::ErrorKind::PermissionDenied => Problem::new(path, format!("`{shown}` may not be read"))
                .help("the user that runs the gateway must be allowed to read it"),
            io::ErrorKind::IsADirectory => Problem::new(path, format!("`{shown}` is a folder, not a file")),
            _ => Problem::new(path, format!("`{shown}` can't be read: {error}")),
        });
        None
    }

    fn resolve(&self, file: &Path) -> PathBuf {
        self.base.join(file)
    }

    fn warn_if_readable_by_others(&mut self, path: &str, file: &Path) {
        let file = self.resolve(file);
        // It was just read; where it has gone since, there is nothing to warn of.
        let Ok(metadata) = std::fs::metadata(&file) else { return };
        if metadata.permissions().mode() & READABLE_BY_OTHERS != 0 {
            let shown = file.display();
            self.warnings.push(
                Problem::new(path, format!("everybody on this machine may read `{shown}`"))
                    .help(format!("`chmod o-rwx {shown}` keeps it to its owner and group")),
            );
        }
    }
}

/// What is wrong with a PEM file, without the lines themselves: they may be a private key.
fn what(error: &PemError) -> &'static str {
    match error {
        PemError::MissingSectionEnd { .. } => "a section has no end, the file may be cut short",
        PemError::IllegalSectionStart { .. } => "the line that begins a section is malformed",
        PemError::Base64Decode(_) => "what stands inside is not base64",
        _ => "it can't be taken apart",
    }
}

/// Whether the bytes begin as an ASN.1 SEQUENCE longer than 127 bytes does, as every key and certificate in DER.
fn is_der(bytes: &[u8]) -> bool {
    matches!(bytes, [0x30, 0x81..=0x84, ..])
}

fn holds(bytes: &[u8], part: &[u8]) -> bool {
    bytes.windows(part.len()).any(|window| window == part)
}
