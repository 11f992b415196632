from tests.batch.conftest import _test_methods, photos, root

__all__ = ["_test_methods", "photos", "root"]
