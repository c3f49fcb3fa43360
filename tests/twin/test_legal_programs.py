from __future__ import annotations
def test_sync(twin):
    twin("""
    engine, context = load()
    d_x, d_y = cuda.mem_alloc(X.nbytes), cuda.mem_alloc(X.nbytes)
    cuda.memcpy_htod(d_x, X)
    assert context.execute_v2([d_x, d_y])
    y = np.empty_like(X)
    cuda.memcpy_dtoh(y, d_y)
    assert np.array_equal(y, Y)
    """).clean()
