//! One thing that a command's option names, read as the config's loader reads it.

use std::io;
use std::path::{Path, PathBuf};

use rustls::pki_types::CertificateDer;

use super::{CertificateMaterial, Loader};
use crate::config::value::{Secret, Source};

/// The bytes of the secret that `option` names, without the line end behind it: the same bytes as a config's `secret`.
///
/// # Errors
/// What is wrong with it, beginning with the option.
pub fn secret(option: &str, secret: &Secret) -> Result<Vec<u8>, String> {
    let secret = Secret(match &secret.0 {
        Source::Env(name) => Source::Env(name.clone()),
        Source::File(path) => Source::File(whole(option, path)?),
    });
    read(|loader| loader.secret(option, &secret))
}

/// The bytes of the file that `option` names.
///
/// # Errors
/// What is wrong with it, beginning with the option.
pub fn file(option: &str, path: &Path) -> Result<Vec<u8>, String> {
    let source = Source::File(whole(option, path)?);
    read(|loader| loader.source(option, &source))
}

/// The certificates of the PEM file that `option` names, at least one.
///
/// # Errors
/// What is wrong with it, beginning with the option.
pub fn certificates(option: &str, path: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let path = whole(option, path)?;
    read(|loader| loader.certificates(option, &path))
}

/// The certificate and the private key that two options name; whether they belong together has not been looked at.
///
/// # Errors
/// What is wrong with them, each beginning with its option.
pub fn pair(certificate: (&str, &Path), key: (&str, &Path)) -> Result<CertificateMaterial, String> {
    let (certificate, path_of_certificate) = (certificate.0, whole(certificate.0, certificate.1)?);
    let (key, path_of_key) = (key.0, whole(key.0, key.1)?);
    read(|loader| {
        let chain = loader.certificates(certificate, &path_of_certificate);
        // Both are read before either is given up, so that both problems are told.
        let private = loader.private_key(key, &path_of_key);
        Some(CertificateMaterial { chain: chain?, key: private?, path_of_key: key.to_owned() })
    })
}

/// The loader's advice on relative paths is about a config's folder; here they are relative to the shell's.
fn whole(option: &str, path: &Path) -> Result<PathBuf, String> {
    std::path::absolute(path).map_err(|error: io::Error| format!("{option}: `{}` is no path: {error}", path.display()))
}

fn read<T>(read: impl FnOnce(&mut Loader<'_>) -> Option<T>) -> Result<T, String> {
    let env = |name: &str| std::env::var(name).ok();
    let mut loader = Loader::new(Path::new("/"), &env);
    let read = read(&mut loader);
    let (problems, ..) = loader.finish();
    read.ok_or_else(|| {
        let said = |problem: &crate::config::Problem| match &problem.help {
            Some(help) => format!("{}: {}; {help}", problem.path, problem.message),
            None => format!("{}: {}", problem.path, problem.message),
        };
        problems.iter().map(said).collect::<Vec<_>>().join("\n")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_read_without_its_line_end_and_what_is_missing_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("secret");
        std::fs::write(&path, "abc\r\n").unwrap();
        assert_eq!(secret("--secret", &Secret(Source::File(path))), Ok(b"abc".to_vec()));
        let missing = dir.path().join("missing");
        let said = file("--key", &missing).unwrap_err();
        assert_eq!(said, format!("--key: there is no file `{}`", missing.display()));
        let unset = Secret(Source::Env("WSGATE_TEST_UNSET".into()));
        assert!(secret("--secret", &unset).unwrap_err().starts_with("--secret: the environment variable `WSGATE_"));
    }

    #[test]
    fn a_file_without_a_certificate_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("ca.pem");
        std::fs::write(&path, "no PEM").unwrap();
        assert!(certificates("--ca", &path).unwrap_err().starts_with("--ca: there is no certificate in"));
    }
}
