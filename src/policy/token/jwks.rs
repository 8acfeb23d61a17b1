//! A JSON Web Key Set (RFC 7517), taken key by key: one that can't be used does not lose the others.
//!
//! A key checks only what it was published for: its `use`, `key_ops`, `alg`, `kty` and `crv` all have a say.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::Value;

use super::Trouble;
use super::keys::{self, Key};
use super::public::{Kind, PublicKey};
use crate::config::value::Algorithm;

/// The set.
#[derive(Deserialize)]
struct Set {
    keys: Vec<Value>,
}

/// One member of the set, with the members of it that matter here.
#[derive(Deserialize)]
struct Jwk {
    kty: String,
    kid: Option<String>,
    alg: Option<String>,
    #[serde(rename = "use")]
    usage: Option<String>,
    key_ops: Option<Vec<String>>,
    crv: Option<String>,
    n: Option<String>,
    e: Option<String>,
    x: Option<String>,
    y: Option<String>,
    /// The private part of every kind of key pair.
    d: Option<IgnoredAny>,
}

/// What becomes of keys that have one name.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Twins {
    /// The set is refused: its operator is there to mend it.
    Refused,
    /// They are left aside, all of them: the tokens of the other keys are not to suffer from a stranger's mistake.
    Skipped,
}

/// The keys of the set that can check one of `algorithms`, and why each of the others can't.
pub(super) fn keys(algorithms: &[Algorithm], text: &str, twins: Twins) -> Result<(Vec<Key>, Vec<String>), Trouble> {
    let shape = || Some("a JSON Web Key Set, as {\"keys\": [{\"kty\": ..}, ..]}".to_owned());
    let whole: Value = serde_json::from_str(text).map_err(|error| (format!("not JSON: {error}"), shape()))?;
    // A member that stands twice has no meaning that all readers share; the type below refuses a second `keys`.
    let set = whole.is_object().then(|| serde_json::from_str::<Set>(text).ok()).flatten();
    let members = set.ok_or_else(|| ("no list of `keys` in it, or two".to_owned(), shape()))?.keys;
    let (mut usable, mut skipped) = (Vec::<Key>::new(), Vec::new());
    for (at, member) in members.iter().enumerate() {
        match key(algorithms, member) {
            Ok(key) => usable.push(key),
            Err(why) => {
                let name =
                    member.get("kid").and_then(Value::as_str).map(|kid| format!(" (kid {kid:?})")).unwrap_or_default();
                skipped.push(format!("key {at}{name}: {why}"));
            }
        }
    }
    for kid in shared_names(&usable) {
        if twins == Twins::Refused {
            let help = "a token names its key by `kid`: each name for one key (RFC 7517 s4.5)";
            return Err((format!("two keys have the kid {kid:?}"), Some(help.to_owned())));
        }
        usable.retain(|key| key.kid.as_ref() != Some(&kid));
        skipped.push(format!("several keys have the kid {kid:?}"));
    }
    // Without algorithms nothing fits, and the list that is empty was told already.
    if usable.is_empty() && !algorithms.is_empty() {
        let why = if skipped.is_empty() { "it is empty".to_owned() } else { skipped.join("; ") };
        return Err((format!("no key of the set can be used: {why}"), None));
    }
    Ok((usable, skipped))
}

/// Each name that more than one key has.
fn shared_names(keys: &[Key]) -> Vec<String> {
    let mut kids: Vec<&String> = keys.iter().filter_map(|key| key.kid.as_ref()).collect();
    kids.sort_unstable();
    let mut shared: Vec<String> =
        kids.windows(2).filter(|pair| pair[0] == pair[1]).map(|pair| pair[0].clone()).collect();
    shared.dedup();
    shared
}

fn key(algorithms: &[Algorithm], member: &Value) -> Result<Key, String> {
    let jwk = Jwk::deserialize(member).map_err(|error| format!("malformed: {error}"))?;
    if jwk.usage.as_deref().is_some_and(|usage| usage != "sig") {
        return Err("its `use` is not \"sig\"".to_owned());
    }
    if jwk.key_ops.as_ref().is_some_and(|ops| !ops.iter().any(|op| op == "verify")) {
        return Err("its `key_ops` do not name \"verify\"".to_owned());
    }
    // A set is published: a secret or a private key in it is one no longer.
    if jwk.kty == "oct" {
        return Err("a shared secret (`oct`) has no place in a key set".to_owned());
    }
    if jwk.d.is_some() {
        return Err("a private key (`d`) has no place in a key set".to_owned());
    }
    let only = match jwk.alg.as_deref() {
        None => None,
        Some(name) => {
            Some(keys::algorithm(name).ok_or_else(|| format!("its `alg` {name:?} is no supported signature"))?)
        }
    };
    let public = public(&jwk)?;
    let algorithms: Vec<_> = algorithms
        .iter()
        .copied()
        .filter(|algorithm| public.kind.fits(*algorithm) && only.is_none_or(|only| only == *algorithm))
        .collect();
    if algorithms.is_empty() {
        let meant = only.map(|only| format!(" for {only:?}")).unwrap_or_default();
        return Err(format!("{}{meant}, which fits none of the algorithms", public.kind));
    }
    Ok(Key { kid: jwk.kid, algorithms, key: public.key })
}

fn public(jwk: &Jwk) -> Result<PublicKey, String> {
    let field = |name: &str, value: &Option<String>| {
        let text = value.as_deref().ok_or_else(|| format!("it has no `{name}`"))?;
        URL_SAFE_NO_PAD.decode(text).map_err(|_| format!("its `{name}` is not base64url"))
    };
    match (jwk.kty.as_str(), jwk.crv.as_deref()) {
        ("RSA", _) => PublicKey::rsa(&field("n", &jwk.n)?, &field("e", &jwk.e)?),
        ("EC", Some(curve @ ("P-256" | "P-384"))) => {
            let (kind, size) = if curve == "P-256" { (Kind::P256, 32) } else { (Kind::P384, 48) };
            let (x, y) = (field("x", &jwk.x)?, field("y", &jwk.y)?);
            // RFC 7518 s6.2.1.2: the full size of a coordinate, leading zeros included.
            if x.len() != size || y.len() != size {
                return Err(format!("its `x` and `y` are not of {size} bytes"));
            }
            // SEC 1 s2.3.3: 4 stands before an uncompressed point.
            PublicKey::ec(&[&[4], x.as_slice(), y.as_slice()].concat(), kind)
        }
        ("OKP", Some("Ed25519")) => PublicKey::ed25519(&field("x", &jwk.x)?),
        (kty, Some(curve)) => Err(format!("its `kty` {kty:?} with `crv` {curve:?} is not supported")),
        (kty, None) => Err(format!("its `kty` {kty:?} is not supported, or wants a `crv`")),
    }
}
