//! The component form of the contract, on wit-bindgen. Only this module knows it.

mod convert;
mod guest;

use crate::Level;
pub use guest::{JudgeGuest, RankerGuest, RegularizerGuest};

/// Bindings of the world `judge-plugin`; the other worlds share its types.
pub mod judge {
    wit_bindgen::generate!({
        path: "wit",
        world: "judge-plugin",
        pub_export_macro: true,
        export_macro_name: "export_judge",
        default_bindings_module: "creamery_plugin::wasm::judge",
        runtime_path: "::creamery_plugin::wasm::runtime",
    });
}

/// Bindings of the world `ranker-plugin`.
pub mod ranker {
    wit_bindgen::generate!({
        path: "wit",
        world: "ranker-plugin",
        pub_export_macro: true,
        export_macro_name: "export_ranker",
        with: {
            "creamery:plugin/types@1.1.0": super::judge::creamery::plugin::types,
            "creamery:plugin/host@1.1.0": super::judge::creamery::plugin::host,
        },
        default_bindings_module: "creamery_plugin::wasm::ranker",
        runtime_path: "::creamery_plugin::wasm::runtime",
    });
}

/// Bindings of the world `regularizer-plugin`.
pub mod regularizer {
    wit_bindgen::generate!({
        path: "wit",
        world: "regularizer-plugin",
        pub_export_macro: true,
        export_macro_name: "export_regularizer",
        with: {
            "creamery:plugin/types@1.1.0": super::judge::creamery::plugin::types,
            "creamery:plugin/host@1.1.0": super::judge::creamery::plugin::host,
        },
        default_bindings_module: "creamery_plugin::wasm::regularizer",
        runtime_path: "::creamery_plugin::wasm::runtime",
    });
}

#[doc(hidden)]
pub use wit_bindgen::rt as runtime;

pub(crate) fn log(level: Level, message: &str) {
    use judge::creamery::plugin::host;
    let level = match level {
        Level::Debug => host::Level::Debug,
        Level::Info => host::Level::Info,
        Level::Warn => host::Level::Warn,
        Level::Error => host::Level::Error,
    };
    host::log(level, message);
}
