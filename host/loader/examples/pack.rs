use querist_loader::{*, cache::Cache};
fn main(){ let out=std::env::args().nth(1).unwrap(); let s=Sandbox::new(Cache::open(std::path::Path::new("/tmp/qcache")).unwrap(), Compiler::InProcess).unwrap(); for f in std::env::args().skip(2){ println!("{}", pack::pack(f.as_ref(), out.as_ref(), &s).unwrap().display()); } }
