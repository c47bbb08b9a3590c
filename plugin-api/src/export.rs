//! [`export_plugin!`](crate::export_plugin).

/// Makes a crate a plugin: call it once, at the root of the crate.
///
/// ```text
/// creamery_plugin::export_plugin! {
///     kind: judge,                       // judge, ranker or regularizer
///     type: ImplicitReward,              // implements the trait of that kind
///     name: "implicit-reward",           // a literal
///     summary: "Log-ratio of the policy to a reference.",
///     schema: include_str!("../params.schema.json"),
///     features: ["c-mix"],               // optional: what the plugin offers; unknown names are ignored
///     requires: [],                      // optional: what it needs of the host; unknown names are refused
/// }
/// ```
///
/// `features: ["c-mix"]` on a regularizer says that its objective is the trait's default, so that the host may
/// compute it without a call.
///
/// A native build exports the descriptor and a function table; a build for `wasm32-unknown-unknown` exports the
/// component's functions; a crate that links the plugin as an ordinary library finds it as `plugin()`.
/// Exported names contain the plugin's name, so several plugins may be linked into one program.
#[macro_export]
macro_rules! export_plugin {
    (
        kind: $kind:ident,
        type: $type:ty,
        name: $name:literal,
        summary: $summary:expr,
        schema: $schema:expr
        $(, features: [$($feature:expr),* $(,)?])?
        $(, requires: [$($require:expr),* $(,)?])?
        $(,)?
    ) => {
        const __CREAMERY_FIELDS: $crate::descriptor::Fields<'static> = $crate::descriptor::Fields {
            kind: ::core::stringify!($kind),
            name: $name,
            version: ::core::env!("CARGO_PKG_VERSION"),
            summary: $summary,
            features: &[$($($feature),*)?],
            requires: &[$($($require),*)?],
            authors: ::core::env!("CARGO_PKG_AUTHORS"),
            license: ::core::env!("CARGO_PKG_LICENSE"),
            repository: ::core::env!("CARGO_PKG_REPOSITORY"),
            params: $schema,
            panic: if ::core::cfg!(panic = "abort") { "abort" } else { "unwind" },
        };
        // In WebAssembly the section is not part of the memory, and `used` would keep a second copy there.
        #[cfg_attr(not(target_family = "wasm"), used)]
        #[cfg_attr(target_family = "wasm", unsafe(link_section = "creamery.plugin"))]
        #[cfg_attr(target_vendor = "apple", unsafe(link_section = "__DATA,__creamery"))]
        #[cfg_attr(target_os = "windows", unsafe(link_section = ".creamry"))]
        #[cfg_attr(
            not(any(target_family = "wasm", target_vendor = "apple", target_os = "windows")),
            unsafe(link_section = ".creamery.plugin")
        )]
        static __CREAMERY_DESCRIPTOR: [u8; $crate::descriptor::size(&__CREAMERY_FIELDS)] =
            $crate::descriptor::encode(&__CREAMERY_FIELDS);

        #[cfg(not(target_family = "wasm"))]
        const _: () = {
            struct Plugin;
            impl $crate::native::Exported for Plugin {
                const DESCRIPTOR: &'static [u8] = &__CREAMERY_DESCRIPTOR;
                const MAKE: $crate::builtin::Make = $crate::__creamery_make!($kind, $type);
            }
            // The host finds the name in the descriptor, and this symbol by the name.
            #[unsafe(export_name = ::core::concat!("creamery_plugin_1_", $name))]
            pub static ROOT: $crate::native::LibHeader = $crate::native::header::<Plugin>();
        };

        /// This plugin, for a program that links it in.
        #[cfg(not(target_family = "wasm"))]
        pub fn plugin() -> $crate::builtin::BuiltinPlugin {
            $crate::builtin::BuiltinPlugin {
                name: $name,
                descriptor: &__CREAMERY_DESCRIPTOR,
                make: $crate::__creamery_make!($kind, $type),
            }
        }

        #[cfg(target_family = "wasm")]
        $crate::__creamery_component!($kind, $type);
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! __creamery_make {
    (judge, $type:ty) => {
        $crate::builtin::Make::Judge($crate::builtin::judge::<$type>)
    };
    (ranker, $type:ty) => {
        $crate::builtin::Make::Ranker($crate::builtin::ranker::<$type>)
    };
    (regularizer, $type:ty) => {
        $crate::builtin::Make::Regularizer($crate::builtin::regularizer::<$type>)
    };
    ($other:ident, $type:ty) => {
        ::core::compile_error!(::core::concat!(
            "unknown plugin kind `",
            ::core::stringify!($other),
            "`; expected `judge`, `ranker` or `regularizer`"
        ))
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! __creamery_component {
    (judge, $type:ty) => {
        type __CreameryGuest = $crate::wasm::JudgeGuest<$type>;
        $crate::wasm::judge::export_judge!(__CreameryGuest with_types_in $crate::wasm::judge);
    };
    (ranker, $type:ty) => {
        type __CreameryGuest = $crate::wasm::RankerGuest<$type>;
        $crate::wasm::ranker::export_ranker!(__CreameryGuest with_types_in $crate::wasm::ranker);
    };
    (regularizer, $type:ty) => {
        type __CreameryGuest = $crate::wasm::RegularizerGuest<$type>;
        $crate::wasm::regularizer::export_regularizer!(__CreameryGuest with_types_in $crate::wasm::regularizer);
    };
    ($other:ident, $type:ty) => {
        ::core::compile_error!("unknown plugin kind; expected `judge`, `ranker` or `regularizer`");
    };
}
