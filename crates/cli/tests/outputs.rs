//! Results go where they were sent, and replace nothing that they must not.

#![cfg(unix)]

mod common;

use std::fs;
use std::os::unix::fs::{FileTypeExt, symlink};
use std::path::Path;
use std::process::Command;

use common::{fail, hardgrad, succeed, text, tiny_run};

/// A safetensors file with inputs of the operator `round`.
fn operator_input(folder: &Path) -> std::path::PathBuf {
    use safetensors::tensor::{Dtype, TensorView};
    let bytes: Vec<u8> = [0.4f32, 1.6].iter().flat_map(|value| value.to_le_bytes()).collect();
    let view = TensorView::new(Dtype::F32, vec![2], &bytes).unwrap();
    let path = folder.join("in.safetensors");
    fs::write(&path, safetensors::serialize([("x", &view), ("grad", &view)], None).unwrap()).unwrap();
    path
}

fn is_device(path: &str) -> bool {
    fs::metadata(path).unwrap().file_type().is_char_device()
}

#[test]
fn devices_pipes_and_links_stay_what_they_are() {
    let folder = tempfile::tempdir().unwrap();
    let input = operator_input(folder.path());
    let run = tiny_run(folder.path());
    let plain = folder.path().join("plain");
    succeed(&["op", "run", "round", text(&input), text(&plain)]);
    let pipe = folder.path().join("pipe");
    assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    let reader = |pipe: &Path| {
        let pipe = pipe.to_path_buf();
        std::thread::spawn(move || fs::read(pipe).unwrap())
    };

    let through = reader(&pipe);
    succeed(&["op", "run", "round", text(&input), text(&pipe)]);
    assert_eq!(through.join().unwrap(), fs::read(&plain).unwrap());
    let through = reader(&pipe);
    succeed(&["export", text(&run), "--out", text(&pipe), "--force"]);
    assert_eq!(through.join().unwrap(), fs::read(run.join("model.packed.safetensors")).unwrap());
    let bench = ["bench", "--only", "op/none", "--json"];
    let through = reader(&pipe);
    succeed(&[&bench[..], &[text(&pipe)]].concat());
    assert!(String::from_utf8(through.join().unwrap()).unwrap().contains("\"results\": []"));
    assert!(fs::metadata(&pipe).unwrap().file_type().is_fifo());

    succeed(&["op", "run", "round", text(&input), "/dev/null"]);
    succeed(&["export", text(&run), "--out", "/dev/null"]);
    succeed(&[&bench[..], &["/dev/null"]].concat());
    assert!(is_device("/dev/null"));
    #[cfg(target_os = "linux")]
    fail(&["op", "run", "round", text(&input), "/dev/full"], 1, &["/dev/full", "free some space"]);

    let (target, link) = (folder.path().join("target"), folder.path().join("link"));
    symlink(&target, &link).unwrap();
    for arguments in [&["op", "run", "round", text(&input), text(&link)][..], &[&bench[..], &[text(&link)]].concat()] {
        succeed(arguments);
        assert!(link.is_symlink() && target.is_file());
        fs::remove_file(&target).unwrap();
    }
    succeed(&["export", text(&run), "--out", text(&link)]);
    succeed(&["export", text(&run), "--out", text(&link), "--force"]);
    assert!(link.is_symlink() && target.is_file());
    for arguments in [
        &["op", "run", "round", text(&input), text(folder.path())][..],
        &["export", text(&run), "--out", text(folder.path()), "--force"],
        &[&bench[..], &[text(folder.path())]].concat(),
    ] {
        fail(arguments, 2, &["a folder is in the way"]);
    }
}

#[test]
fn files_of_runs_are_never_replaced_by_results() {
    let folder = tempfile::tempdir().unwrap();
    let run = tiny_run(folder.path());
    let input = operator_input(folder.path());
    let model = run.join("model.safetensors");
    let before = fs::read(&model).unwrap();
    // Another way to the folder, a link to the file, a second name of it, a copy elsewhere.
    let at = |name: &str| folder.path().join(name);
    symlink(&run, at("way")).unwrap();
    symlink(&model, at("link")).unwrap();
    fs::hard_link(&model, at("second")).unwrap();
    fs::copy(&model, at("copy")).unwrap();
    let newest = fs::read_dir(run.join("checkpoints")).unwrap().next().unwrap().unwrap().path();
    for out in [
        at("way/model.safetensors"),
        at("link"),
        at("second"),
        at("copy"),
        at("run/checkpoints/../float.safetensors"),
        run.join("metrics.csv"),
        newest,
    ] {
        for arguments in [
            &["export", text(&run), "--out", text(&out), "--force"][..],
            &["op", "run", "round", text(&input), text(&out)],
            &["bench", "--only", "op/none", "--json", text(&out)],
        ] {
            fail(arguments, 2, &["the run itself needs this file"]);
        }
    }
    // From within the folder, by a path that leads back to it.
    let output =
        hardgrad(&["export", "../run", "--out", "model.safetensors", "--force"]).current_dir(&run).output().unwrap();
    common::check_failure(output, 2, &["model.safetensors", "the run itself needs this file"]);
    assert_eq!(fs::read(&model).unwrap(), before);
    assert_eq!(fs::read(at("second")).unwrap(), before);
    // Its own packed file may be made again, that of another run may not be replaced.
    let packed = run.join("model.packed.safetensors");
    succeed(&["export", text(&at("way")), "--out", text(&packed), "--force"]);
    fs::create_dir(at("other")).unwrap();
    for name in ["config.toml", "model.packed.safetensors"] {
        fs::copy(run.join(name), at("other").join(name)).unwrap();
    }
    fs::create_dir(at("other/checkpoints")).unwrap();
    let others = at("other/model.packed.safetensors");
    fail(&["export", text(&run), "--out", text(&others), "--force"], 2, &["the run itself needs this file"]);
    // Other packed files may be replaced.
    fs::copy(&packed, at("shipped")).unwrap();
    succeed(&["export", text(&run), "--out", text(&at("shipped")), "--force"]);
}

#[test]
fn force_deletes_the_run_and_nothing_beside_it() {
    let folder = tempfile::tempdir().unwrap();
    let run = tiny_run(folder.path());
    let data = folder.path().join("data");
    fs::write(run.join("letter"), "dear").unwrap();
    fs::write(run.join(".notes.partial"), "mine").unwrap();
    let mut arguments = vec!["train", "qat", "--data", text(&data), "--out", text(&run), "--seed", "5", "--force"];
    arguments.extend(common::SMALL);
    succeed(&arguments);
    succeed(&["train", "--resume", text(&run)]);
    assert_eq!(fs::read(run.join("letter")).unwrap(), b"dear");
    assert_eq!(fs::read(run.join(".notes.partial")).unwrap(), b"mine");
    assert!(fs::read_to_string(run.join("config.toml")).unwrap().contains("seed = 5"));
    // A run without its checkpoints is one still.
    fs::remove_dir_all(run.join("checkpoints")).unwrap();
    let input = operator_input(folder.path());
    fail(&["op", "run", "round", text(&input), text(&run.join("summary.json"))], 2, &["the run itself needs"]);
}

#[test]
fn an_input_is_not_replaced_by_its_output() {
    let folder = tempfile::tempdir().unwrap();
    let input = operator_input(folder.path());
    let before = fs::read(&input).unwrap();
    symlink(&input, folder.path().join("link")).unwrap();
    for out in [input.clone(), folder.path().join("link")] {
        fail(&["op", "run", "round", text(&input), text(&out)], 2, &["would replace the input"]);
    }
    assert_eq!(fs::read(&input).unwrap(), before);
}

#[test]
fn long_names_are_written() {
    let folder = tempfile::tempdir().unwrap();
    let input = operator_input(folder.path());
    for length in [241, 255] {
        let out = folder.path().join("n".repeat(length));
        succeed(&["op", "run", "round", text(&input), text(&out)]);
        assert!(out.is_file());
    }
}

#[test]
fn results_in_one_folder_are_of_one_call() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("plots");
    fs::create_dir(&out).unwrap();
    // Another call at work in the folder holds its lock.
    let lock = fs::File::create(out.join(".hardgrad.lock")).unwrap();
    lock.lock().unwrap();
    for arguments in [
        &["plots", "--out", text(&out)][..],
        &["diagnose", "--objective", "linear", "--out", text(&out)],
        &["compare", "--objective", "linear", "--out", text(&out)],
        &["theory", "two-layer", "--out", text(&out)],
        &["experiment", "guidance", "--out", text(&out)],
        &["bench", "--scaling", text(&out)],
        &["train", "qat", "--out", text(&out)],
    ] {
        fail(arguments, 2, &["plots", "another hardgrad is at work"]);
    }
    assert_eq!(fs::read_dir(&out).unwrap().count(), 1);
    // So is a run that another one trains.
    let run = tiny_run(folder.path());
    let other = fs::File::create(run.join(".hardgrad.lock")).unwrap();
    other.lock().unwrap();
    fail(&["train", "--resume", text(&run)], 2, &["another hardgrad is at work"]);
    // Nor are a run's files replaced through links in a folder of results.
    symlink(run.join("model.safetensors"), out.join("round.svg")).unwrap();
    drop(lock);
    fail(&["plots", "--out", text(&out)], 2, &["round.svg", "the run itself needs this file"]);
    fs::remove_file(out.join("round.svg")).unwrap();
    succeed(&["plots", "--out", text(&out)]);
    assert!(!out.join(".hardgrad.lock").exists());
}
