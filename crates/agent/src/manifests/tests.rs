use std::fs;
use std::path::PathBuf;

use super::{Files, Origin};

struct Folder(tempfile::TempDir);

impl Folder {
    fn new() -> Folder {
        Folder(tempfile::tempdir().unwrap())
    }

    fn at(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn write(&self, name: &str, text: &str) {
        fs::write(self.at(name), text).unwrap();
    }
}

fn texts(files: &Files) -> Vec<String> {
    files.texts().map(|(_, text)| text.map_or_else(ToString::to_string, |text| text.to_string())).collect()
}

#[test]
fn a_folder_has_its_manifests_in_order() {
    let folder = Folder::new();
    for name in ["b.yaml", "a.json", "c.yml", "d.txt", "e"] {
        folder.write(name, name);
    }
    fs::create_dir(folder.at("f.yaml")).unwrap();
    std::os::unix::fs::symlink("d.txt", folder.at("g.yaml")).unwrap();
    let mut files = Files::new(vec![Origin::Path(folder.0.path().into()), Origin::Text("in".into())]);
    files.look();
    assert_eq!(texts(&files), ["a.json", "b.yaml", "c.yml", "d.txt", "in"]);
}

#[test]
fn a_text_counts_once_two_looks_have_found_it() {
    let folder = Folder::new();
    folder.write("a.yaml", "one");
    let mut files = Files::new(vec![Origin::Path(folder.at("a.yaml"))]);
    assert!(!files.look());
    assert!(files.look() && files.look());
    // Written in place, as long as before, within the grain of the clock that files are dated by.
    folder.write("a.yaml", "two");
    assert!(!files.look());
    folder.write("a.yaml", "six");
    assert!(!files.look());
    assert!(files.look());
    assert_eq!(texts(&files), ["six"]);
}

#[test]
fn what_cannot_be_read_is_told_and_comes_back() {
    let folder = Folder::new();
    let name = folder.at("a.yaml").display().to_string();
    let mut files = Files::new(vec![Origin::Path(folder.at("a.yaml"))]);
    files.look();
    assert!(files.look());
    assert_eq!(texts(&files), [format!("cannot read {name}: No such file or directory")]);
    folder.write("a.yaml", "there");
    files.look();
    assert!(files.look());
    assert_eq!(texts(&files), ["there"]);
    let mut empty = Files::new(vec![Origin::Path(folder.0.path().join("."))]);
    fs::remove_file(folder.at("a.yaml")).unwrap();
    empty.look();
    assert!(texts(&empty)[0].ends_with(": no .json, .yaml or .yml file is in this folder"));
    fs::write(folder.at("b.yaml"), [0xff, 0xfe]).unwrap();
    let mut bytes = Files::new(vec![Origin::Path(folder.at("b.yaml"))]);
    bytes.look();
    assert!(texts(&bytes)[0].ends_with("stream did not contain valid UTF-8"), "{:?}", texts(&bytes));
}

/// Looks until the files are settled, and gives what they say.
fn settled(files: &mut Files) -> Vec<String> {
    assert!((0..4).any(|_| files.look()), "they are never settled");
    texts(files)
}

#[test]
fn a_folder_that_cannot_be_listed_keeps_its_files() {
    let place = Folder::new();
    let (folder, away) = (place.at("a"), place.at("x"));
    fs::create_dir(&folder).unwrap();
    fs::write(folder.join("a.yaml"), "a").unwrap();
    fs::write(folder.join("b.yaml"), "b").unwrap();
    place.write("c.yaml", "c");
    let mut files = Files::new(vec![Origin::Path(folder.clone()), Origin::Path(place.at("c.yaml"))]);
    files.look();
    assert_eq!(settled(&mut files), ["a", "b", "c"]);
    let refused = |why: &str| {
        vec![format!("cannot read {}: {why}", folder.display()), "a".into(), "b".into(), "c".into()]
    };

    // Gone, for as long as it may be.
    fs::rename(&folder, &away).unwrap();
    for _ in 0..5 {
        assert_eq!(settled(&mut files), refused("No such file or directory"));
    }
    // A file, or nothing that can be read, in its place.
    fs::write(&folder, "d").unwrap();
    assert_eq!(settled(&mut files), refused("Not a directory"));
    fs::remove_file(&folder).unwrap();
    std::os::unix::fs::symlink("a", &folder).unwrap();
    assert!(settled(&mut files)[0].contains("symbolic link"));
    assert_eq!(settled(&mut files)[1..], ["a", "b", "c"]);
    // Not mounted: what is beneath is on another file system, and empty.
    fs::remove_file(&folder).unwrap();
    std::os::unix::fs::symlink("/proc", &folder).unwrap();
    assert_eq!(settled(&mut files), refused("no .json, .yaml or .yml file is in this folder"));
    // Back, with what has changed meanwhile.
    fs::remove_file(&folder).unwrap();
    fs::rename(&away, &folder).unwrap();
    fs::write(folder.join("b.yaml"), "new").unwrap();
    assert_eq!(settled(&mut files), ["a", "new", "c"]);

    // Emptied: what was in it is gone; and it is looked at further.
    fs::remove_file(folder.join("a.yaml")).unwrap();
    fs::remove_file(folder.join("b.yaml")).unwrap();
    assert_eq!(settled(&mut files), ["c"]);
    fs::rename(&folder, &away).unwrap();
    assert_eq!(settled(&mut files)[1..], ["c"]);
    fs::rename(&away, &folder).unwrap();
    fs::write(folder.join("e.yaml"), "e").unwrap();
    assert_eq!(settled(&mut files), ["e", "c"]);
}

/// As root it can be read all the same.
#[test]
fn a_folder_that_is_forbidden_keeps_its_files() {
    let folder = Folder::new();
    folder.write("a.yaml", "a");
    let mut files = Files::new(vec![Origin::Path(folder.0.path().into())]);
    files.look();
    for mode in [0o000, 0o300, 0o600, 0o700] {
        fs::set_permissions(folder.0.path(), std::os::unix::fs::PermissionsExt::from_mode(mode)).unwrap();
        let found = settled(&mut files);
        assert!(found.len() <= 2 && (mode == 0o600 || found.contains(&"a".into())), "{mode:o}: {found:?}");
    }
    assert_eq!(settled(&mut files), ["a"]);
}

/// What only one look has seen is no reason to forget what two have seen.
#[test]
fn a_folder_that_goes_while_it_changes_keeps_its_files() {
    let place = Folder::new();
    let (folder, away) = (place.at("a"), place.at("x"));
    fs::create_dir(&folder).unwrap();
    fs::write(folder.join("a.yaml"), "a").unwrap();
    fs::write(folder.join("b.yaml"), "b").unwrap();
    let mut files = Files::new(vec![Origin::Path(folder.clone())]);
    files.look();
    assert_eq!(settled(&mut files), ["a", "b"]);
    fs::remove_file(folder.join("a.yaml")).unwrap();
    fs::write(folder.join("b.yaml"), "half").unwrap();
    fs::write(folder.join("c.yaml"), "half").unwrap();
    assert!(!files.look());
    fs::rename(&folder, &away).unwrap();
    let found = settled(&mut files);
    let names: Vec<&str> = files.texts().map(|(file, _)| file.rsplit('/').next().unwrap()).collect();
    assert_eq!(names, ["a", "a.yaml", "b.yaml"]);
    assert!(found.iter().all(|text| text.ends_with(": No such file or directory")), "{found:?}");
    fs::rename(&away, &folder).unwrap();
    assert_eq!(settled(&mut files), ["half", "half"]);
}
