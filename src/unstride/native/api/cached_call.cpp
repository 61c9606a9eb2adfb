// Cached calls: those with validated arguments, looked up and run without Python code. A call on a 2 x 2 array takes 2
// microseconds, 4.5 if Python looks it up and hands the arrays over.
#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>

#include <optional>

#include "api/buffers.hpp"
#include "api/calls.hpp"
#include "runtime/memory.hpp"
#include "runtime/unlocked.hpp"

namespace unstride {

// An array of numbers of any value, whose memory is used again after it.
nb::object empty(const std::vector<std::size_t>& shape, int bytes) {
    if (bytes != 4 && bytes != 8) throw std::invalid_argument("bytes must be 4 or 8");
    std::size_t size = static_cast<std::size_t>(bytes);
    for (std::size_t length : shape)
        if (__builtin_mul_overflow(size, length, &size)) throw std::bad_alloc();
    struct Block {
        void* data;
        std::size_t size;
    };
    auto* block = new Block{allocate(std::max<std::size_t>(size, 1)), std::max<std::size_t>(size, 1)};
    nb::capsule owner(block, [](void* p) noexcept {
        auto* held = static_cast<Block*>(p);
        release(held->data, held->size);
        delete held;
    });
    if (bytes == 4) return nb::cast(nb::ndarray<nb::numpy, float>(block->data, shape.size(), shape.data(), owner));
    return nb::cast(nb::ndarray<nb::numpy, double>(block->data, shape.size(), shape.data(), owner));
}

namespace {

constexpr std::size_t large = std::size_t(1) << 16;  // bytes from which on a result takes memory that an earlier one left

// What the lookup needs of NumPy, fetched once. (Leaked: it may be used while the interpreter ends.)
struct NumPy {
    PyTypeObject* array;
    PyObject *single, *whole, *empty;  // the types float32 and float64, and numpy.empty
    PyObject *dtype, *shape;           // names of attributes

    static const NumPy& get() {
        static const NumPy* const numpy = new NumPy(nb::module_::import_("numpy"));
        return *numpy;
    }

   private:
    explicit NumPy(const nb::module_& numpy)
        : array(reinterpret_cast<PyTypeObject*>(nb::object(numpy.attr("ndarray")).release().ptr())),
          single(numpy.attr("dtype")("float32").release().ptr()), whole(numpy.attr("dtype")("float64").release().ptr()),
          empty(nb::object(numpy.attr("empty")).release().ptr()), dtype(PyUnicode_InternFromString("dtype")),
          shape(PyUnicode_InternFromString("shape")) {}
};

// One of the maps for arrays of known shapes and type.
class CachedCall {
   public:

    CachedCall(const std::string& map, const std::vector<Size>& shape, int bytes, const std::vector<Size>& stride,
             const std::vector<Size>& dilation, const std::vector<Size>& begin, Size groups, bool first, bool kernel_first,
             bool relu)
        : map_(map_named(map)), fields_(fields_of(stride, dilation, begin, groups)), layout_{first, kernel_first},
          relu_(relu), bytes_(bytes), shape_(nb::steal(PyTuple_New(static_cast<Py_ssize_t>(shape.size())))) {
        if (bytes != 4 && bytes != 8) throw std::invalid_argument("bytes must be 4 or 8");
        double size = bytes;
        for (std::size_t i = 0; i < shape.size(); ++i) {
            if (shape[i] < 0) throw std::invalid_argument("a size is negative");
            sizes_.push_back(static_cast<std::size_t>(shape[i])), size *= static_cast<double>(shape[i]);
            PyTuple_SetItem(shape_.ptr(), static_cast<Py_ssize_t>(i), PyLong_FromLongLong(shape[i]));
        }
        large_ = size >= static_cast<double>(large);
    }

    // The result for x and kernel, or big and small; None for arrays that the kernels cannot walk over as they are.
    nb::object operator()(nb::handle a, nb::handle b, nb::handle bias) const {
        const bool derives = map_ == Map::kernel_gradient;
        std::optional<Buffer> first, second, added;
        try {
            first.emplace(derives ? "big" : "x", a, false), second.emplace(derives ? "small" : "kernel", b, false);
            if (!bias.is_none()) added.emplace("bias", bias, false);
        } catch (const std::invalid_argument&) {
            return nb::none();
        }
        if (!grid(**first) || !(derives ? grid(**second) : (**second).contiguous()) || (added && !(**added).contiguous()))
            return nb::none();
        nb::object result = new_result();
        const Buffer out("out", result, true);
        const Unlocked unlocked;
        if (derives)
            gradient(**first, **second, *out, fields_, layout_);
        else
            compute(map_ == Map::conv_transpose, **first, **second, added ? &**added : nullptr, *out, fields_, layout_, relu_);
        return result;
    }

   private:
    bool grid(const Array& array) const {
        const int last = array.dimensions - 1;
        return array.contiguous() || (!layout_.first && (array.size(last) == 1 || array.stride(last) == 1));
    }

    nb::object new_result() const {
        if (large_) return empty(sizes_, bytes_);
        const NumPy& numpy = NumPy::get();
        PyObject* arguments[] = {shape_.ptr(), bytes_ == 4 ? numpy.single : numpy.whole};
        PyObject* result = PyObject_Vectorcall(numpy.empty, arguments, 2, nullptr);
        if (!result) throw nb::python_error();
        return nb::steal(result);
    }

    const Map map_;
    const Fields fields_;
    const Layout layout_;
    const bool relu_;
    const int bytes_;
    const nb::object shape_;
    std::vector<std::size_t> sizes_;
    bool large_ = false;
};

// The type of a field, and of each entry of a tuple: a stride of True or 1.0 equals 1, and is none.
nb::object kind(PyObject* field) {
    if (!PyTuple_CheckExact(field)) return nb::borrow(reinterpret_cast<PyObject*>(Py_TYPE(field)));
    const Py_ssize_t count = PyTuple_Size(field);
    nb::object kinds = nb::steal(PyTuple_New(count));
    for (Py_ssize_t i = 0; i < count; ++i)
        PyTuple_SetItem(kinds.ptr(), i, kind(PyTuple_GetItem(field, i)).release().ptr());
    return kinds;
}

nb::object attribute(nb::handle object, PyObject* name) {
    PyObject* value = PyObject_GetAttr(object.ptr(), name);
    if (!value) throw nb::python_error();
    return nb::steal(value);
}

// The key of a call, for NumPy arrays of one type, float32 or float64; None for others.
nb::object key(nb::handle map, nb::handle a, nb::handle b, nb::handle bias, nb::handle fields) {
    const NumPy& numpy = NumPy::get();
    if (Py_TYPE(a.ptr()) != numpy.array || Py_TYPE(b.ptr()) != numpy.array) return nb::none();
    if (!bias.is_none() && Py_TYPE(bias.ptr()) != numpy.array) return nb::none();
    const nb::object type = attribute(a, numpy.dtype);
    if ((type.ptr() != numpy.single && type.ptr() != numpy.whole) || attribute(b, numpy.dtype).ptr() != type.ptr())
        return nb::none();
    if (!bias.is_none() && attribute(bias, numpy.dtype).ptr() != type.ptr()) return nb::none();
    const nb::object shape = bias.is_none() ? nb::none() : attribute(bias, numpy.shape);
    return nb::make_tuple(map, type, attribute(a, numpy.shape), attribute(b, numpy.shape), shape, fields, kind(fields.ptr()));
}

// The result of a call that `calls` has under its key; None if it has none.
nb::object recall(nb::dict calls, nb::handle map, nb::handle a, nb::handle b, nb::handle bias, nb::handle fields) {
    const nb::object value = key(map, a, b, bias, fields);
    if (value.is_none()) return value;
    PyObject* call = PyDict_GetItemWithError(calls.ptr(), value.ptr());
    if (!call) {
        if (!PyErr_Occurred()) return nb::none();
        if (!PyErr_ExceptionMatches(PyExc_TypeError)) throw nb::python_error();
        PyErr_Clear();  // a list among the fields
        return nb::none();
    }
    const nb::object held = nb::borrow(call);  // another thread may clear the dictionary meanwhile
    return (*nb::cast<const CachedCall*>(held))(a, b, bias);
}

}  // namespace

void bind_cached_calls(nb::module_& m) {
    nb::class_<CachedCall>(m, "CachedCall")
        .def(nb::init<const std::string&, const std::vector<Size>&, int, const std::vector<Size>&, const std::vector<Size>&,
                      const std::vector<Size>&, Size, bool, bool, bool>(),
             nb::arg("map"), nb::arg("shape"), nb::arg("bytes"), nb::arg("stride"), nb::arg("dilation"), nb::arg("begin"),
             nb::arg("groups"), nb::arg("first"), nb::arg("kernel_first"), nb::arg("relu"))
        .def("__call__", &CachedCall::operator(), nb::arg("a"), nb::arg("b"), nb::arg("bias").none(),
             "The result for contiguous arrays; None for others.");
    m.def("key", key, nb::arg("map"), nb::arg("a").none(), nb::arg("b").none(), nb::arg("bias").none(), nb::arg("fields"),
          "The key of a call; None for arrays that are not NumPy's, of float32 or float64 alike.");
    m.def("recall", recall, nb::arg("calls"), nb::arg("map"), nb::arg("a").none(), nb::arg("b").none(), nb::arg("bias").none(),
          nb::arg("fields"), "The result of a call that `calls` has under its key; None if it has none.");
    m.def("empty", empty, nb::arg("shape"), nb::arg("bytes"),
          "A new array of float32 (4 bytes) or float64 (8): large ones take memory that an earlier one left.");
}

}  // namespace unstride
