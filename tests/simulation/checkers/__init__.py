"""What must hold, one file per kind of promise. A checker gets recorded facts and raises `Violation`; it never changes the world."""
