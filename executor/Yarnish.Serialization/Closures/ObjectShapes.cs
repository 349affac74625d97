using System.Collections.Concurrent;
using System.Reflection;
using System.Reflection.Emit;
using System.Runtime.CompilerServices;

namespace Yarnish.Serialization;

/// <summary>Objects made of their fields; no constructor runs. Fields at their default are not written.</summary>
internal sealed class FieldsShape : Shape
{
    private readonly Type type;
    private readonly FieldInfo[] fields;
    private readonly string[] names;
    private readonly Lazy<Dictionary<string, Action<object, GraphReader>>> setters;
    private readonly bool prunable;

    private static readonly ConcurrentDictionary<Type, FieldsShape> Cache = new();

    /// <summary>The shape of a class or struct.</summary>
    public static FieldsShape For(Type type) => Cache.GetOrAdd(type, static type => new(type));

    private FieldsShape(Type type)
    {
        this.type = type;
        fields = InstanceFields.Of(type);
        prunable = FieldUse.IsDisplayClass(type);
        names = new string[fields.Length];
        for (var index = 0; index < fields.Length; index++)
        {
            // A derived class may have a field of the same name as its base.
            names[index] = Array.FindIndex(fields, field => field.Name == fields[index].Name) == index ? fields[index].Name : $"{index}:{fields[index].Name}";
        }

        // The driver only writes.
        setters = new(() => fields.Zip(names).ToDictionary(pair => pair.Second, pair => Setter(pair.First)));
    }

    /// <summary>True for classes of captured variables: only the variables that are read travel.</summary>
    public bool Prunable => prunable;

    public override void Visit(object value, IValueVisitor visitor)
    {
        foreach (var field in fields)
        {
            visitor.Value(field.GetValue(value), field.FieldType, new(field));
        }
    }

    public override object Create(Type type, GraphReader reader)
    {
        reader.SkipToEnd();
        return RuntimeHelpers.GetUninitializedObject(type);
    }

    public override bool HasContent(object value) => fields.Length > 0;

    public override void WriteContent(object value, GraphWriter writer)
    {
        for (var index = 0; index < fields.Length; index++)
        {
            var inside = fields[index].GetValue(value);
            if (inside is not null && !(prunable && !writer.IsLoaded(fields[index])) && !(fields[index].FieldType.IsValueType && Nullable.GetUnderlyingType(fields[index].FieldType) is null && IsDefault(inside)))
            {
                writer.Field(names[index], fields[index], value, inside);
            }
        }
    }

    public override void Fill(object target, GraphReader reader)
    {
        while (reader.NextName() is { } name)
        {
            if (!setters.Value.TryGetValue(name, out var set))
            {
                throw new CodeIdentityException($"{TypeNames.Of(type)} has no field {name}: driver and executor run different builds.");
            }

            set(target, reader);
        }
    }

    private static bool IsDefault(object value) => value switch
    {
        bool boolean => !boolean,
        int number => number == 0,
        long number => number == 0,
        // A negative zero is no default.
        double number => BitConverter.DoubleToInt64Bits(number) == 0,
        _ => false,
    };

    // May see private fields and set read-only ones, which compiled expressions may not.
    private Action<object, GraphReader> Setter(FieldInfo field)
    {
        if (!RuntimeFeature.IsDynamicCodeSupported)
        {
            // File-based programs switch dynamic code off unless told otherwise: slower, but it works.
            return (target, reader) => field.SetValue(target, reader.ReadInline(field.FieldType));
        }

        var method = new DynamicMethod($"Set {field.Name}", typeof(void), [typeof(object), typeof(GraphReader)], typeof(FieldsShape).Module, skipVisibility: true);
        var code = method.GetILGenerator();
        code.Emit(OpCodes.Ldarg_0);
        code.Emit(type.IsValueType ? OpCodes.Unbox : OpCodes.Castclass, type);
        code.Emit(OpCodes.Ldarg_1);
        code.Emit(OpCodes.Call, GraphReader.ReadMethod.MakeGenericMethod(field.FieldType));
        code.Emit(OpCodes.Stfld, field);
        code.Emit(OpCodes.Ret);
        return method.CreateDelegate<Action<object, GraphReader>>();
    }
}

/// <summary>Boxed values, and values that are written as text.</summary>
internal sealed class BoxShape : Shape
{
    public override Type NameOf(object value) => CoreTypes.Text(value.GetType())?.Type ?? value.GetType();

    public override void Visit(object value, IValueVisitor visitor)
    {
    }

    public override void WriteCreation(object value, GraphWriter writer)
    {
        writer.Name("value");
        writer.Inline(value, NameOf(value));
    }

    public override object Create(Type type, GraphReader reader)
    {
        reader.Expect("value");
        // Classes written as text, such as Uri, would be looked for among the objects.
        var value = !type.IsValueType && CoreTypes.Text(type) is { } form ? form.Read(reader.Read<string>()) : reader.ReadInline(type)!;
        reader.SkipToEnd();
        return value;
    }
}

internal sealed class ArrayShape<T> : Shape
{
    private static readonly Type Place = typeof(T);

    public override void Visit(object value, IValueVisitor visitor)
    {
        if (CoreTypes.IsNumber(Place) || Place == typeof(string))
        {
            return;
        }

        var items = (T[])value;
        for (var index = 0; index < items.Length; index++)
        {
            visitor.Value(items[index], Place, new(null, null, index));
        }
    }

    public override void WriteCreation(object value, GraphWriter writer)
    {
        writer.Name("length");
        writer.Inline(((T[])value).Length, typeof(int));
    }

    public override object Create(Type type, GraphReader reader)
    {
        reader.Expect("length");
        var length = reader.Read<int>();
        reader.SkipToEnd();
        reader.Allow(length);
        return new T[length];
    }

    public override bool HasContent(object value) => ((T[])value).Length > 0;

    public override void WriteContent(object value, GraphWriter writer)
    {
        writer.Name("items");
        if (value is byte[] bytes)
        {
            writer.Inline(Convert.ToBase64String(bytes), typeof(string));
            return;
        }

        writer.StartArray();
        foreach (var item in (T[])value)
        {
            writer.Value(item, Place);
        }

        writer.EndArray();
    }

    public override void Fill(object target, GraphReader reader)
    {
        reader.Expect("items");
        if (target is byte[] bytes)
        {
            Convert.FromBase64String(reader.Read<string>()).CopyTo(bytes, 0);
        }
        else
        {
            var items = (T[])target;
            var index = 0;
            reader.StartArray();
            while (reader.NextItem())
            {
                items[index++] = reader.Current<T>();
            }
        }

        reader.SkipToEnd();
    }
}

/// <summary>Arrays of several dimensions.</summary>
internal sealed class GridShape<T> : Shape
{
    public override void Visit(object value, IValueVisitor visitor)
    {
        var index = 0;
        foreach (var item in (Array)value)
        {
            visitor.Value(item, typeof(T), new(null, null, index++));
        }
    }

    public override void WriteCreation(object value, GraphWriter writer)
    {
        writer.Name("lengths");
        writer.StartArray();
        for (var dimension = 0; dimension < ((Array)value).Rank; dimension++)
        {
            writer.Inline(((Array)value).GetLength(dimension), typeof(int));
        }

        writer.EndArray();
    }

    public override object Create(Type type, GraphReader reader)
    {
        reader.Expect("lengths");
        var lengths = new List<int>();
        reader.StartArray();
        while (reader.NextItem())
        {
            lengths.Add(reader.Current<int>());
        }

        reader.SkipToEnd();
        reader.Allow(lengths.Aggregate(1L, static (product, length) => Math.Min(product * length, int.MaxValue)));
        return Array.CreateInstance(typeof(T), [.. lengths]);
    }

    public override bool HasContent(object value) => ((Array)value).Length > 0;

    public override void WriteContent(object value, GraphWriter writer)
    {
        writer.Name("items");
        writer.StartArray();
        foreach (var item in (Array)value)
        {
            writer.Value(item, typeof(T));
        }

        writer.EndArray();
    }

    public override void Fill(object target, GraphReader reader)
    {
        var items = (Array)target;
        var at = new int[items.Rank];
        reader.Expect("items");
        reader.StartArray();
        while (reader.NextItem())
        {
            items.SetValue(reader.Current<T>(), at);
            for (var dimension = items.Rank - 1; dimension >= 0 && ++at[dimension] == items.GetLength(dimension) && dimension > 0; dimension--)
            {
                at[dimension] = 0;
            }
        }

        reader.SkipToEnd();
    }
}

/// <summary>Functions: a method, and the object it is bound to.</summary>
internal sealed class DelegateShape : Shape
{
    public static readonly DelegateShape Instance = new();

    /// <summary>Why a function cannot travel, whatever it captures; null when nothing speaks against it.</summary>
    public static string? WhyNot(Delegate function)
    {
        if (!function.HasSingleTarget)
        {
            return $"it calls {function.GetInvocationList().Length} functions (delegates joined with +). Pass one function that calls the others.";
        }

        var method = function.Method;
        if (IsCompiledExpression(function) || method.DeclaringType is null)
        {
            return IsCompiledExpression(function)
                ? "it was compiled from an expression tree at run time: its code is in no file. Write it as a lambda."
                : "it was made at run time (DynamicMethod): its code is in no file. Write it as a lambda.";
        }

        return WhyNot(method);
    }

    /// <summary>True for what Expression.Compile makes; its target's type is hidden.</summary>
    public static bool IsCompiledExpression(Delegate function) => function.Target?.GetType().FullName == "System.Runtime.CompilerServices.Closure";

    /// <summary>Why a method may not be named; null when it may.</summary>
    public static string? WhyNot(MethodInfo method) => Framework.Owns(method.DeclaringType!) && !CoreTypes.MayCall(method.DeclaringType!)
        ? $"it is {TypeNames.Of(method.DeclaringType!)}.{method.Name} of the framework itself. Wrap it in a lambda."
        : null;

    public override void Visit(object value, IValueVisitor visitor)
    {
        var function = (Delegate)value;
        visitor.Code(function.Method.DeclaringType!);
        foreach (var argument in function.Method.IsGenericMethod ? function.Method.GetGenericArguments() : [])
        {
            visitor.Code(argument);
        }

        visitor.Value(function.Target, typeof(object), new(null, "target"));
    }

    public override void VisitNeeded(object value, IValueVisitor visitor) => visitor.Value(((Delegate)value).Target, typeof(object), new(null, "target"));

    public override void WriteCreation(object value, GraphWriter writer)
    {
        var function = (Delegate)value;
        writer.Name("method");
        writer.Inline(writer.Code.Of(function.Method), typeof(int));
        if (function.Target is not null)
        {
            writer.Name("target");
            writer.Value(function.Target, typeof(object));
        }
    }

    public override object Create(Type type, GraphReader reader)
    {
        reader.Expect("method");
        var method = reader.Method(reader.Read<int>());
        var target = reader.NextName() == "target" ? reader.Read<object>() : null;
        reader.SkipToEnd();
        return method.CreateDelegate(type, target);
    }
}
