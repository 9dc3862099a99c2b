//! Reading a file that claims huge sizes must not allocate for them.

mod common;
#[path = "../../hardgrad/tests/counting/mod.rs"]
mod counting;

use counting::measured;
use hardgrad_runtime::PackedModel;

fn assert_small(file: &[u8], what: &str) {
    // Files are read on the thread that asks for it, so that its count is all there is.
    let (result, _, peak) = measured(|| PackedModel::from_bytes(file));
    assert!(result.is_err(), "{what} was accepted");
    let most = file.len() + (1 << 20);
    assert!(peak <= most as isize, "{what}: {peak} bytes allocated for a file of {}", file.len());
}

#[test]
fn files_that_claim_huge_sizes_allocate_no_more_than_a_megabyte_beyond_their_own() {
    let file = common::example().to_bytes().unwrap();
    for claimed in [u64::MAX, 1 << 62, 1 << 40, 90 << 20] {
        assert_small(&[&claimed.to_le_bytes(), &file[8..]].concat(), "a huge header");
    }

    let length = u64::from_le_bytes(file[..8].try_into().unwrap()) as usize;
    let header = String::from_utf8(file[8..8 + length].to_vec()).unwrap();
    let replace = |from: &str, to: &str| {
        let changed = header.replacen(from, to, 1);
        assert_ne!(changed, header, "{from} is not in the header");
        let length = (changed.len() as u64).to_le_bytes();
        [&length, changed.as_bytes(), &file[8 + header.len()..]].concat()
    };
    for size in ["1099511627776", "268435456", "18446744073709551615"] {
        for field in ["channels", "kernel", "bits", "lowest", "outputs", "step"] {
            let from = header.find(&format!("\\\"{field}\\\":")).unwrap();
            let end = from + header[from..].find([',', '}']).unwrap();
            assert_small(&replace(&header[from..end], &format!("\\\"{field}\\\":{size}")), field);
        }
        let conv = "\\\"op\\\":\\\"conv2d\\\",";
        for field in ["stride", "padding", "dilation", "groups"] {
            assert_small(&replace(conv, &format!("{conv}\\\"{field}\\\":{size},")), field);
        }
        let pool = "\\\"op\\\":\\\"max_pool2d\\\",\\\"kernel\\\":2";
        for op in
            ["patches\\\",\\\"size", "linear\\\",\\\"outputs", "attention\\\",\\\"heads", "take_token\\\",\\\"index"]
        {
            assert_small(&replace(pool, &format!("\\\"op\\\":\\\"{op}\\\":{size}")), op);
        }
        for shape in
            [format!("[{size},3,3]"), format!("[1,{size},3]"), format!("[{size}]"), format!("[{size},{size},{size}]")]
        {
            assert_small(&replace("\\\"shape\\\":[1,3,3]", &format!("\\\"shape\\\":{shape}")), &shape);
        }
        assert_small(&replace("\"shape\":[2]", &format!("\"shape\":[{size}]")), "a huge tensor");
        assert_small(&replace("\"shape\":[2]", &format!("\"shape\":[{size},{size},0]")), "an empty huge tensor");
        let offsets = header.find("\"data_offsets\":[").unwrap();
        let end = offsets + header[offsets..].find(']').unwrap();
        assert_small(&replace(&header[offsets..end], &format!("\"data_offsets\":[0,{size}")), "huge offsets");
    }
}
