//! Material is read from a folder made on the spot, and from an environment that is an argument.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use super::*;
use crate::config;

struct Folder(tempfile::TempDir);

impl Folder {
    fn new() -> Self {
        let folder = Self(tempfile::tempdir().unwrap());
        let pair = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        folder.write("cert.pem", pair.cert.pem());
        folder.write("key.pem", pair.signing_key.serialize_pem());
        folder
    }

    fn write(&self, name: &str, bytes: impl AsRef<[u8]>) {
        let path = self.0.path().join(name);
        fs::write(&path, bytes).unwrap();
        fs::set_permissions(path, fs::Permissions::from_mode(0o600)).unwrap();
    }

    fn load(&self, text: &str) -> (Material, Vec<Problem>) {
        let config = config::parse(text, "test.toml").unwrap();
        let env = |name: &str| match name {
            "SECRET" => Some("from the environment\n".to_owned()),
            "EMPTY" => Some("\n".to_owned()),
            _ => None,
        };
        Material::load(&config, self.0.path(), &env)
    }

    /// The problems, as path and message.
    fn problems(&self, text: &str) -> Vec<(String, String)> {
        self.load(text).1.into_iter().map(|problem| (problem.path, problem.message)).collect()
    }
}

#[test]
fn paths_are_relative_to_the_config_and_secrets_lose_their_line_end() {
    let folder = Folder::new();
    folder.write("s", "from a file\r\n");
    folder.write("jwks.json", "{}");
    let (material, problems) = folder.load(
        r#"
        jwt.a = { algorithms = ["HS256"], secret = "file:s" }
        jwt.b = { algorithms = ["HS256"], secret = "env:SECRET" }
        jwt.c = { algorithms = ["RS256"], jwks = "jwks.json" }
        listen = [
            { address = "127.0.0.1:0" },
            { address = "127.0.0.1:0", tls = { certificate = "cert.pem", key = "key.pem", additional = [
                { certificate = "cert.pem", key = "key.pem" },
            ] } },
        ]
        route = [{ upstream = "http://a" }, { upstream = "https://b", upstream_ca = "cert.pem" }]
        "#,
    );
    assert_eq!(problems, []);
    assert_eq!(material.warnings, []);
    assert!(matches!(&material.jwt["a"], KeyMaterial::Secret(bytes) if bytes == b"from a file"));
    assert!(matches!(&material.jwt["b"], KeyMaterial::Secret(bytes) if bytes == b"from the environment"));
    assert!(matches!(&material.jwt["c"], KeyMaterial::Jwks(text) if text == "{}"));
    assert!(material.tls[0].is_empty());
    let paths: Vec<_> = material.tls[1].iter().map(|certificate| certificate.path_of_key.as_str()).collect();
    assert_eq!(paths, ["listen[1].tls.key", "listen[1].tls.additional[0].key"]);
    assert!(material.upstream_ca[0].is_none());
    assert_eq!(material.upstream_ca[1].as_ref().map(Vec::len), Some(1));
}

#[test]
fn everything_that_cannot_be_read_is_told_at_once() {
    let folder = Folder::new();
    folder.write("cut.pem", "-----BEGIN CERTIFICATE-----\nAAAA\n");
    let paths: Vec<_> = folder
        .problems(
            r#"
            jwt.a = { algorithms = ["HS256"], secret = "env:MISSING" }
            jwt.b = { algorithms = ["HS256"], secret = "env:EMPTY" }
            jwt.c = { algorithms = ["HS256"] }
            jwt.d = { algorithms = ["HS256"], secret = "env:SECRET", jwks = "jwks.json" }
            listen = [{ address = "127.0.0.1:0", tls = { certificate = "key.pem", key = "cert.pem", additional = [
                { certificate = "cut.pem", key = "nothing.pem" },
            ] } }]
            route = [{ upstream = "https://b", upstream_ca = "." }]
            "#,
        )
        .into_iter()
        .map(|(path, _)| path)
        .collect();
    assert_eq!(
        paths,
        [
            "jwt.a.secret",
            "jwt.b.secret",
            "jwt.c",
            "jwt.d.jwks",
            "listen[0].tls.certificate",
            "listen[0].tls.key",
            "listen[0].tls.additional[0].certificate",
            "listen[0].tls.additional[0].key",
            "route[0].upstream_ca",
        ]
    );
}

#[test]
fn a_file_that_is_too_large_is_not_read() {
    let folder = Folder::new();
    folder.write("big", vec![b'x'; 1 + usize::try_from(config::file::MOST).unwrap()]);
    let problems = folder.problems("jwt.a = { algorithms = ['HS256'], secret = 'file:big' }");
    assert!(matches!(&problems[..], [(_, message)] if message.contains("more than 1 MiB")), "{problems:?}");
}

#[test]
fn a_secret_that_everybody_may_read_is_a_warning() {
    let folder = Folder::new();
    folder.write("s", "secret");
    for name in ["s", "key.pem", "cert.pem"] {
        fs::set_permissions(folder.0.path().join(name), fs::Permissions::from_mode(0o644)).unwrap();
    }
    let (material, problems) = folder.load(
        r#"
        jwt.a = { algorithms = ["HS256"], secret = "file:s" }
        listen = [{ address = "127.0.0.1:0", tls = { certificate = "cert.pem", key = "key.pem" } }]
        "#,
    );
    assert_eq!(problems, []);
    let paths: Vec<_> = material.warnings.iter().map(|warning| warning.path.as_str()).collect();
    assert_eq!(paths, ["jwt.a.secret", "listen[0].tls.key"]);
}

#[test]
fn an_encrypted_key_is_named_as_such() {
    let folder = Folder::new();
    folder.write("key.pem", "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n");
    let (_, problems) =
        folder.load("listen = [{ address = '127.0.0.1:0', tls = { certificate = 'cert.pem', key = 'key.pem' } }]");
    assert!(problems[0].help.as_ref().unwrap().contains("encrypted"), "{problems:?}");
}

#[test]
fn keys_do_not_print() {
    let folder = Folder::new();
    let (material, _) = folder.load(
        r#"
        jwt.b = { algorithms = ["HS256"], secret = "env:SECRET" }
        listen = [{ address = "127.0.0.1:0", tls = { certificate = "cert.pem", key = "key.pem" } }]
        "#,
    );
    let printed = format!("{material:?}");
    let key = format!("{:?}", material.tls[0][0].key.secret_der());
    assert!(printed.contains("[secret]"), "{printed}");
    assert!(!printed.contains(&key) && !printed.contains("environment"), "{printed}");
}
