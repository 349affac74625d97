using System.Collections.Concurrent;
using System.Reflection;

namespace Yarnish.Serialization;

/// <summary>The instance fields that make up an object, inherited ones first, in the order of their declaration: the same in every process that loads the same file.</summary>
internal static class InstanceFields
{
    private static readonly ConcurrentDictionary<Type, FieldInfo[]> Cache = new();

    /// <summary>All fields that travel: neither <see cref="NonSerializedAttribute"/> nor <see cref="YarnishTransientAttribute"/>.</summary>
    public static FieldInfo[] Of(Type type) => Cache.GetOrAdd(type, static type =>
    {
        var fields = new List<FieldInfo>();
        for (var at = type; at is not null && at != typeof(object) && at != typeof(ValueType); at = at.BaseType)
        {
            var own = at.GetFields(BindingFlags.Instance | BindingFlags.Public | BindingFlags.NonPublic | BindingFlags.DeclaredOnly);
            Array.Sort(own, static (left, right) => left.MetadataToken.CompareTo(right.MetadataToken));
            fields.InsertRange(0, own.Where(Travels));
        }

        return [.. fields];
    });

    // The flag is called obsolete because the framework's own serializers are gone; the attribute is still the C# way to say it.
#pragma warning disable SYSLIB0050
    private static bool Travels(FieldInfo field) =>
        !field.IsNotSerialized && !field.IsDefined(typeof(YarnishTransientAttribute), inherit: false) && Property(field)?.IsDefined(typeof(YarnishTransientAttribute), inherit: false) != true;
#pragma warning restore SYSLIB0050

    private static PropertyInfo? Property(FieldInfo field) => field.Name.EndsWith(">k__BackingField", StringComparison.Ordinal)
        ? field.DeclaringType!.GetProperty(TypeNames.OfField(field.Name), BindingFlags.Instance | BindingFlags.Public | BindingFlags.NonPublic | BindingFlags.DeclaredOnly)
        : null;
}
