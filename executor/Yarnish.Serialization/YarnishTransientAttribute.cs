namespace Yarnish.Serialization;

/// <summary>
/// Leaves a field behind when its object travels with a function or as a row: executors see the field's default value. Does what <see cref="NonSerializedAttribute"/>
/// does; unlike it, also on auto-properties through <c>[field: YarnishTransient]</c> and on parameters of primary constructors.
/// </summary>
[AttributeUsage(AttributeTargets.Field | AttributeTargets.Property)]
public sealed class YarnishTransientAttribute : Attribute;
