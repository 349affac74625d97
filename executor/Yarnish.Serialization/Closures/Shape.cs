namespace Yarnish.Serialization;

/// <summary>
/// How objects of one kind are taken apart and made again. Making has two steps: <see cref="Create"/> for all objects, in an order in which what is needed for it
/// comes first, then <see cref="Fill"/>; so graphs with cycles and of any depth need no recursion.
/// </summary>
internal abstract class Shape
{
    /// <summary>Tells shapes apart that do not follow from the type alone; null when they do.</summary>
    public virtual string? Kind => null;

    /// <summary>The type to name; the object's own unless that is hidden in the framework.</summary>
    public virtual Type NameOf(object value) => value.GetType();

    /// <summary>Visits every value inside.</summary>
    public abstract void Visit(object value, IValueVisitor visitor);

    /// <summary>Visits the values that must exist before the object can be created.</summary>
    public virtual void VisitNeeded(object value, IValueVisitor visitor)
    {
    }

    /// <summary>Writes properties that <see cref="Create"/> reads.</summary>
    public virtual void WriteCreation(object value, GraphWriter writer)
    {
    }

    /// <summary>Makes the object, reading properties until the end of the JSON object.</summary>
    public abstract object Create(Type type, GraphReader reader);

    /// <summary>Whether <see cref="Fill"/> has work to do.</summary>
    public virtual bool HasContent(object value) => false;

    /// <summary>Writes properties that <see cref="Fill"/> reads.</summary>
    public virtual void WriteContent(object value, GraphWriter writer)
    {
    }

    /// <summary>Fills the object, reading properties until the end of the JSON object.</summary>
    public virtual void Fill(object target, GraphReader reader) => reader.SkipToEnd();
}

/// <summary>Is shown values with the type of the place they are in.</summary>
internal interface IValueVisitor
{
    /// <summary>One value.</summary>
    void Value(object? value, Type place, Step step);

    /// <summary>A code entry the graph names.</summary>
    void Code(Type type);
}

/// <summary>From an object to one inside it: a field, or words such as <c>[3]</c>.</summary>
internal readonly record struct Step(System.Reflection.FieldInfo? Field, string? Words = null, int Index = -1);
