//! The folder that holds the demo's secret, its certificates and its key for as long as the demo runs.

use std::fs::{self, DirBuilder, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use aws_lc_rs::rand;

use super::certificate;
use crate::now::Now;

/// Bytes of the secret, before they are written as twice as many letters: what HS256 wants at least.
const SECRET: usize = 32;

/// A folder of this user alone. Its drop removes it.
pub(super) struct Folder {
    path: PathBuf,
    secret: String,
}

impl Folder {
    /// Makes it, with all that the demo's config names.
    pub(super) fn make(now: Now) -> io::Result<Self> {
        let path = std::env::temp_dir().join(format!("wsgate-demo-{}", random::<8>()?));
        // Made anew or not at all: nobody else can have put anything there.
        DirBuilder::new().mode(0o700).create(&path).map_err(|error| {
            io::Error::new(error.kind(), format!("the folder `{}` can't be made: {error}", path.display()))
        })?;
        let folder = Self { path, secret: random::<SECRET>()? };
        let pair = certificate::make(now).map_err(|error| io::Error::other(format!("no certificate: {error}")))?;
        folder.write("secret", &folder.secret)?;
        folder.write("ca.pem", &pair.authority)?;
        folder.write("certificate.pem", &pair.certificate)?;
        folder.write("key.pem", &pair.key)?;
        Ok(folder)
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// The authority's certificate, for `--cacert`.
    pub(super) fn authority(&self) -> PathBuf {
        self.path.join("ca.pem")
    }

    /// The file of the secret, for `wsgate token`.
    pub(super) fn secret_file(&self) -> PathBuf {
        self.path.join("secret")
    }

    /// What tokens are signed with.
    pub(super) fn secret(&self) -> &[u8] {
        self.secret.as_bytes()
    }

    fn write(&self, name: &str, text: &str) -> io::Result<()> {
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(self.path.join(name))?;
        file.write_all(text.as_bytes())
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_dir_all(&self.path) {
            tracing::warn!(path = %self.path.display(), %error, "the demo's folder could not be removed");
        }
    }
}

/// So many random bytes, in hexadecimal.
fn random<const N: usize>() -> io::Result<String> {
    let mut bytes = [0; N];
    rand::fill(&mut bytes).map_err(|_| io::Error::other("the system gives no random bytes"))?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::now::Clock;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn the_folder_is_its_users_alone_and_goes_with_its_value() {
        let folder = Folder::make(Clock::system().now()).unwrap();
        let path = folder.path().to_owned();
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(&path), mode(&folder.secret_file())), (0o700, 0o600));
        assert_eq!(fs::read(folder.secret_file()).unwrap(), folder.secret());
        drop(folder);
        assert!(!path.exists());
    }
}
