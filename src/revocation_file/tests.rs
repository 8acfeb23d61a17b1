use std::os::unix::fs::PermissionsExt;

use super::*;
use crate::policy::revocation::Settings;

const NOW: u64 = 1_800_000_000_000;

fn list() -> Arc<Revocations> {
    Arc::new(Revocations::new(Settings { entries: 100, ttl: 60_000, claims: vec![], issuers: vec![] }))
}

fn revoke(list: &Revocations, jti: &str) {
    list.revoke(list.read(format!(r#"{{"jti":"{jti}"}}"#).as_bytes(), NOW).unwrap(), NOW).unwrap();
}

fn names(folder: &Path) -> Vec<String> {
    let mut names: Vec<_> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    names.sort();
    names.into_iter().map(|name| name.into_string().unwrap()).collect()
}

fn run<T>(test: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(test)
}

#[test]
fn what_was_saved_is_read_by_the_next_one_and_by_nobody_else() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("revocations.json");
    assert_eq!(read(&path), Ok(vec![]));
    let list = list();
    let file = RevocationFile::open(path.clone(), &list, NOW).unwrap();
    assert_eq!(read(&path), Ok(vec![]), "an empty list stands there");
    revoke(&list, "t1");
    run(file.save(&list, NOW)).unwrap();
    assert_eq!(read(&path).unwrap(), list.entries(9, NOW).0);
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(names(folder.path()), ["revocations.json"]);
    // Over by now, and so not written.
    revoke(&list, "t2");
    run(file.save(&list, NOW + 60_000)).unwrap();
    assert_eq!(read(&path), Ok(vec![]));
}

#[test]
fn what_an_earlier_life_left_beside_it_does_not_count_and_is_no_hindrance() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("r.json");
    fs::write(folder.path().join("r.json.new"), "{\"version\": 1, \"revoc").unwrap();
    assert_eq!(read(&path), Ok(vec![]));
    let list = list();
    let file = RevocationFile::open(path.clone(), &list, NOW).unwrap();
    // A link in its place is not followed.
    let victim = folder.path().join("victim");
    fs::write(&victim, "mine").unwrap();
    std::os::unix::fs::symlink(&victim, folder.path().join("r.json.new")).unwrap();
    revoke(&list, "t1");
    run(file.save(&list, NOW)).unwrap();
    assert_eq!(fs::read(&victim).unwrap(), b"mine");
    assert_eq!(read(&path).unwrap().len(), 1);
    assert_eq!(names(folder.path()), ["r.json", "victim"]);
}

#[test]
fn a_file_that_is_no_whole_list_is_an_error_with_its_place() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("r.json");
    for (text, said) in
        [(&b""[..], "line 1 column 1"), (b"{\"version\":1,\"revocations\":[", "line 1 column 28"), (b"\xff", "UTF-8")]
    {
        fs::write(&path, text).unwrap();
        let error = read(&path).unwrap_err();
        assert!(error.contains("r.json") && error.contains(said), "{error}");
    }
    assert!(read(folder.path()).unwrap_err().contains("can't be read"));
}

#[test]
fn a_write_that_fails_leaves_what_stood_there_and_the_next_one_has_it_all() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("r.json");
    let list = list();
    let file = RevocationFile::open(path.clone(), &list, NOW).unwrap();
    revoke(&list, "t1");
    // A folder of that name can neither be removed as a file nor written: also for root, whom no mode stops.
    fs::create_dir(folder.path().join("r.json.new")).unwrap();
    assert!(run(file.save(&list, NOW)).is_err());
    assert_eq!(read(&path), Ok(vec![]));
    fs::remove_dir(folder.path().join("r.json.new")).unwrap();
    run(file.save(&list, NOW)).unwrap();
    assert_eq!(read(&path).unwrap().len(), 1);
}

#[test]
fn a_folder_that_is_not_there_is_said_at_once() {
    let folder = tempfile::tempdir().unwrap();
    assert!(RevocationFile::open(folder.path().join("none/r.json"), &list(), NOW).is_err());
}

#[test]
fn whose_change_another_wrote_already_writes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("r.json");
    let list = list();
    let file = RevocationFile::open(path.clone(), &list, NOW).unwrap();
    revoke(&list, "t1");
    revoke(&list, "t2");
    run(file.save(&list, NOW)).unwrap();
    // From here on a write would fail.
    fs::create_dir(folder.path().join("r.json.new")).unwrap();
    run(file.save(&list, NOW)).unwrap();
    revoke(&list, "t3");
    assert!(run(file.save(&list, NOW)).is_err());
    assert_eq!(read(&path).unwrap().len(), 2);
}

#[test]
fn a_file_that_was_left_to_another_process_is_written_no_more() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("r.json");
    let list = list();
    let file = RevocationFile::open(path.clone(), &list, NOW).unwrap();
    revoke(&list, "t1");
    let held = file.hold();
    run(async {
        let mut waits = std::pin::pin!(file.save(&list, NOW));
        assert!(std::future::poll_fn(|cx| std::task::Poll::Ready(waits.as_mut().poll(cx).is_pending())).await);
        held.give_away();
        waits.await.unwrap();
    });
    assert_eq!(read(&path), Ok(vec![]), "the other process writes it");
}
