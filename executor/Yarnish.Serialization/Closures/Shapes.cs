using System.Collections.Concurrent;
using System.Globalization;
using System.Reflection;
using System.Runtime.CompilerServices;
using System.Text;

namespace Yarnish.Serialization;

/// <summary>Finds the shape of objects, in the driver by the object and in executors by the name that was written.</summary>
internal static class Shapes
{
    private static readonly ConcurrentDictionary<Type, Shape?> ByType = new();
    private static readonly ConcurrentDictionary<Type, string?> Reasons = new();

    private static readonly Dictionary<string, Shape> ByKind = new Shape[]
    {
        new TypeShape(), new MethodShape(), new StringComparerShape(), new DefaultComparerShape(), new MadeComparerShape(), new CultureShape(), new EncodingShape(), new TimeZoneShape(),
        new RowFormatShape(), new KeyEqualityShape(), new LazyShape(), new FrozenShape(), new ReferenceEqualityShape(),
    }.ToDictionary(shape => shape.Kind!);

    /// <summary>The shape of an object; null with a reason when it cannot travel.</summary>
    public static Shape? Of(object value, out string? reason)
    {
        reason = null;
        if (value is Delegate function)
        {
            reason = DelegateShape.WhyNot(function);
            return reason is null ? DelegateShape.Instance : null;
        }

        if (value is ITravelCondition { ReasonToStay: { } stays })
        {
            reason = stays;
            return null;
        }

        var type = value.GetType();
        // Kinds are for objects of the framework and of Yarnish itself.
        if ((Framework.Owns(type) || type.Assembly == typeof(Shapes).Assembly) && OfKind(value) is { } kind)
        {
            reason = kind is FrozenShape ? FrozenShape.WhyNot(value) : value is MethodInfo method ? DelegateShape.WhyNot(method) : null;
            return reason is null ? kind : null;
        }

        if (type.IsGenericType && type.GetGenericTypeDefinition() == typeof(Lazy<>))
        {
            reason = "its value has not been made yet, and its factory runs only once in one process. Read its Value first, or make it a static field.";
            return null;
        }

        reason = WhyNot(type);
        return reason is null ? ForType(type) : null;
    }

    /// <summary>The shape that was written with a kind or, without one, that a type has.</summary>
    public static Shape Named(string? kind, Type type)
    {
        if (kind is not null)
        {
            return ByKind.GetValueOrDefault(kind) ?? throw new CodeIdentityException($"The code of the stage has an object of unknown kind '{kind}': driver and executor run different versions of Yarnish.");
        }

        if (typeof(Delegate).IsAssignableFrom(type))
        {
            return DelegateShape.Instance;
        }

        return WhyNot(type) is null && ForType(type) is { } shape
            ? shape
            : throw new CodeIdentityException($"The code of the stage wants an object of type {TypeNames.Of(type)}, which may not be made from bytes.");
    }

    /// <summary>Why objects of a type cannot travel; null when they can.</summary>
    public static string? WhyNot(Type type) => Reasons.GetOrAdd(type, static type => Ask(type));

    private static string? Ask(Type type)
    {
        if (Unshippable.Reason(type) is { } reason)
        {
            return reason;
        }

        if (type.IsEnum || type == typeof(string) || CoreTypes.IsNumber(type) || CoreTypes.Text(type) is not null || type.IsArray)
        {
            return null;
        }

        if (Framework.Owns(type))
        {
            return CoreTypes.ByFields(type) ? null
                : CollectionShapes.For(type) is null ? "it is a type of the framework that keeps its state to itself. Create it inside the function, or hold it in a static field."
                : CollectionShapes.WhyNot(type);
        }

        for (var at = type.BaseType; at is not null && at != typeof(object) && at != typeof(ValueType); at = at.BaseType)
        {
            if (Framework.Owns(at) && at.GetFields(BindingFlags.Instance | BindingFlags.Public | BindingFlags.NonPublic | BindingFlags.DeclaredOnly).Length > 0)
            {
                return $"it derives from {TypeNames.Of(at)}, a type of the framework that keeps its state to itself. Hold a {TypeNames.Of(at)} in a field instead, if that can travel.";
            }
        }

        return type.IsDefined(typeof(InlineArrayAttribute), inherit: false) || InstanceFields.Of(type).Any(field => field.IsDefined(typeof(FixedBufferAttribute), inherit: false))
            ? "its elements have no fields of their own. Use an array."
            : null;
    }

    private static Shape? ForType(Type type) => ByType.GetOrAdd(type, static type =>
        type == typeof(string) || type.IsEnum || CoreTypes.IsNumber(type) || CoreTypes.Text(type) is not null ? new BoxShape()
        : type.IsArray ? (Shape)Activator.CreateInstance((type.IsSZArray ? typeof(ArrayShape<>) : typeof(GridShape<>)).MakeGenericType(type.GetElementType()!))!
        : CollectionShapes.For(type) ?? (Shape)FieldsShape.For(type));

    private static Shape? OfKind(object value) => value switch
    {
        Type => ByKind["type"],
        MethodInfo => ByKind["method"],
        CultureInfo => ByKind["culture"],
        Encoding => ByKind["encoding"],
        TimeZoneInfo => ByKind["timeZone"],
        ReferenceEqualityComparer => ByKind["reference"],
        IEqualityComparer<string?> comparer when StringComparer.IsWellKnownOrdinalComparer(comparer, out _) || StringComparer.IsWellKnownCultureAwareComparer(comparer, out _, out _) =>
            DefaultComparerShape.Knows(value) ? ByKind["defaultComparer"] : ByKind["stringComparer"],
        _ when DefaultComparerShape.Knows(value) => ByKind["defaultComparer"],
        _ when MadeComparerShape.Knows(value.GetType()) => ByKind["comparer"],
        _ when RowFormatShape.Knows(value) => ByKind["rows"],
        _ when KeyEqualityShape.Knows(value) => ByKind["keys"],
        _ when LazyShape.Knows(value) => ByKind["lazy"],
        _ when FrozenShape.Knows(value) => ByKind["frozen"],
        _ => null,
    };
}
